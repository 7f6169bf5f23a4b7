import { Command } from 'commander'
import { contextOf, withCommon } from '../context.ts'

interface StatusAnswer {
  readonly state: { readonly kind: string; readonly clusterId?: string; readonly by?: string }
  readonly nodeId: string
  readonly version: string
  readonly peers?: readonly string[]
  readonly synced?: boolean
  readonly cutOff?: boolean
  readonly windingDown?: boolean
  readonly encryption?: {
    readonly by: 'kernel' | 'wireguard-go' | 'none'
    readonly why?: string
    readonly sealed: readonly string[]
    readonly open: readonly string[]
  }
  readonly rules?: string
  readonly voters?: string
  readonly engine?: { readonly kind: string; readonly error?: string }
  readonly network?: { readonly kind: string; readonly why?: string; readonly version?: string }
  readonly portTroubles?: readonly {
    readonly protocol: string
    readonly port: number
    readonly why: string
  }[]
  readonly damage?: readonly {
    readonly what: string
    readonly setAsideAs: string
    readonly healed: boolean
  }[]
}

function encryptionLines(encryption: StatusAnswer['encryption']): readonly string[] {
  if (encryption === undefined) return []
  const { by, why, sealed, open } = encryption
  if (by === 'none') return [`packets   to other nodes are NOT ENCRYPTED: ${why ?? ''}`]
  const program = by === 'kernel' ? 'WireGuard' : 'WireGuard, by wireguard-go'
  return [
    `packets   to ${sealed.length} other nodes are encrypted (${program})`,
    ...(open.length === 0
      ? []
      : [`packets   to these are NOT ENCRYPTED, which have no WireGuard: ${open.join(', ')}`]),
  ]
}

export function statusCommand(): Command {
  return withCommon(new Command('status'))
    .summary("this node's own state")
    .description(
      'What this node says of itself: its cluster, its peers, its engine, and whether its store is sound.',
    )
    .action(async (_options, command: Command) => {
      const context = contextOf(command)
      const status = await context.client.json<StatusAnswer>('GET', '/moot/v1/status')
      if (context.json) return context.print(JSON.stringify(status, null, 2))
      const lines = [`node      ${status.nodeId}`, `agent     ${status.version}`]
      if (status.state.kind === 'active') {
        lines.push(`cluster   ${status.state.clusterId ?? ''}`)
        lines.push(
          `peers     ${status.peers?.length ?? 0} connected${status.synced === true ? '' : ' (not yet synced)'}`,
        )
        if (status.windingDown === true) {
          lines.push('removed   no member of it any more: it still stops and removes what it ran')
        }
        if (status.cutOff === true) {
          lines.push(
            'cut off   no other node answers, nor does the way to them: nothing of theirs is taken over here',
          )
        }
        lines.push(...encryptionLines(status.encryption))
        if (status.rules !== undefined) lines.push(`rules     ${status.rules}`)
        if (status.voters !== undefined) lines.push(`voters    ${status.voters}`)
        lines.push(`engine    ${status.engine?.kind === 'up' ? 'up' : `down: ${status.engine?.error ?? ''}`}`)
        lines.push(...networkLines(status))
      } else if (status.state.kind === 'removed') {
        lines.push(
          `cluster   none: this node was removed by ${status.state.by ?? 'another node'}; "moot join TOKEN" takes it back`,
        )
      } else {
        lines.push('cluster   none: "moot init" begins one here, "moot join TOKEN" joins one')
      }
      for (const each of status.damage ?? []) {
        lines.push(
          `damage    ${each.what}, set aside as ${each.setAsideAs}${each.healed ? ', healed from a peer' : ', waiting for a peer'}`,
        )
      }
      context.print(lines.join('\n'))
    })
}

function networkLines({ network, portTroubles = [] }: StatusAnswer): readonly string[] {
  const lines: string[] = []
  if (network?.kind === 'kernel') lines.push(`network   by the kernel (${network.version ?? ''})`)
  if (network?.kind === 'userland')
    lines.push(`network   published ports in userland, networks on this node alone: ${network.why ?? ''}`)
  if (network?.kind === 'none')
    lines.push(`network   no published ports, networks on this node alone: ${network.why ?? ''}`)
  for (const { protocol, port, why } of portTroubles)
    lines.push(`port      ${port}/${protocol} is not answered here: ${why}`)
  return lines
}
