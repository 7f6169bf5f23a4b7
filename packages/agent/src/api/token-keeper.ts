import type { Cluster, JoinToken } from '../cluster.ts'

/**
 * The one token that `GET /swarm` shows. Docker's join tokens are permanent, Moot's are used once and expire, so a
 * read hands out the token that it handed out before for as long as that can still be used, and only then makes
 * another: reading a hundred times leaves one token outstanding. `rotate` (`join-token --rotate`) makes another now.
 */
export interface TokenKeeper {
  current(): Promise<string>
  rotate(): void
  /** A token that was made elsewhere (`init`) and may be shown. */
  keep(token: JoinToken): void
}

export function createTokenKeeper(cluster: Cluster, ttlMs: number, now: () => number): TokenKeeper {
  let kept: (JoinToken & { readonly cluster: string }) | undefined
  /** Reads that come at once get one token. */
  let making: Promise<string> | undefined

  const clusterId = (): string => {
    const state = cluster.state()
    return state.kind === 'active' ? state.clusterId : ''
  }
  const usable = (): boolean => {
    if (kept === undefined || kept.cluster !== clusterId()) return false
    const { id, expiresAtMs } = kept
    // Half of its life is left: time enough to paste it on another machine.
    if (expiresAtMs - now() < ttlMs / 2) return false
    const entry = cluster.tokens().find((token) => token.id === id)
    // Unknown to its own issuer: the node has left since and came back as another, and nobody could redeem it.
    return entry !== undefined && entry.usedBy === undefined
  }
  const keep = (token: JoinToken): void => {
    kept = { ...token, cluster: clusterId() }
  }

  return {
    keep,
    rotate: () => {
      kept = undefined
    },
    async current() {
      if (usable() && kept !== undefined) return kept.token
      making ??= cluster
        .createToken({ ttlMs })
        .then((made) => {
          keep(made)
          return made.token
        })
        .finally(() => {
          making = undefined
        })
      return making
    },
  }
}
