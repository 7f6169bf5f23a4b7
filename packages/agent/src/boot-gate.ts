import type { NodeId, SpecStore } from '@moot/crdt-state'
import type { LivenessMap } from './core/membership/liveness.ts'
import type { Defaults } from './defaults.ts'
import type { Clock } from './ports/clock.ts'
import { removalOf } from './removal.ts'

/** What an agent that has just started knows of what it and the others ran; until then it makes, claims and stops nothing. */
export interface BootGate {
  start(): void
  stop(): void
  /** A comparison with this peer has ended. */
  heard(peer: NodeId): void
  /** A record with holes must not replace the peers' copies of it, which can fill them. */
  recordIsWhole(): boolean
  /** It may decide. */
  isOpen(): boolean
}

export function createBootGate(options: {
  readonly self: NodeId
  readonly specs: Pick<SpecStore, 'damage' | 'byName' | 'tombstone'>
  readonly records: { readonly isOwnDamaged: boolean }
  /** A peer was compared with. */
  readonly isCompared: () => boolean
  /** It knows of members whose documents it has lost. */
  readonly hasLostMembers: () => boolean
  readonly members: () => ReadonlyMap<NodeId, unknown>
  readonly liveness: () => LivenessMap
  readonly clock: Pick<Clock, 'after'>
  readonly settings: Pick<Defaults, 'bootSyncTimeoutMs' | 'bootHearTimeoutMs' | 'meshFullDegree'>
  /** A wait is over: it may be open now. */
  readonly waitOver: () => void
}): BootGate {
  const { self, specs, records, isCompared, clock, settings } = options
  const peers = new Set<NodeId>()
  let syncWaitOver = false
  let hearWaitOver = false
  let cancel: (() => void)[] = []

  const recordIsWhole = (): boolean => !records.isOwnDamaged || syncWaitOver
  /** Whose own document is lost was not removed. */
  const isForgotten = (): boolean =>
    specs.byName('node', self) === undefined && specs.tombstone('node', self) === undefined
  /** Documents are lost and no peer has filled the holes yet. What was damaged is told of at one start only. */
  const specsHaveHoles = (): boolean =>
    !isCompared() &&
    (isForgotten() || options.hasLostMembers() || specs.damage().some(({ healed }) => !healed))

  /**
   * After all agents died at once nobody has anybody's last words: what a peer claimed just before, only its own record
   * tells. Until it was heard its slots look vacant, and claiming one would run it twice and stop what ran. Where not
   * all are connected with all, one peer has to be enough.
   */
  function everybodyHeard(members: readonly NodeId[]): boolean {
    if (members.length > settings.meshFullDegree) return true
    const liveness = options.liveness()
    return members.every((node) => node === self || peers.has(node) || liveness.get(node)?.kind === 'down')
  }

  return {
    start() {
      cancel = [
        clock.after(settings.bootSyncTimeoutMs, () => {
          syncWaitOver = true
          options.waitOver()
        }),
        clock.after(settings.bootHearTimeoutMs, () => {
          hearWaitOver = true
          options.waitOver()
        }),
      ]
    },
    stop() {
      for (const each of cancel) each()
    },
    heard: (peer) => void peers.add(peer),
    recordIsWhole,
    isOpen() {
      // Its own claims are lost: peers hold a copy of them, so nothing is claimed anew before they were asked.
      if (!recordIsWhole()) return false
      // Nobody compares what it has with one that is no member: whatever its disk has lost, all that runs here ends.
      if (removalOf(specs, self) !== undefined) return true
      const members = options.members()
      // Not removed, but forgotten by a damaged store: acting on what is left of it would stop everything here.
      if (specsHaveHoles()) return hearWaitOver && members.has(self)
      // Alone: there is nobody to wait for.
      if (members.size <= 1 || !members.has(self)) return true
      return (syncWaitOver || isCompared()) && (hearWaitOver || everybodyHeard([...members.keys()]))
    },
  }
}
