import type { NodeId, WireGuardEnd } from '@moot/crdt-state'
import type { Logger } from 'pino'
import {
  type AgedKey,
  nextRoundStep,
  type OwnEnd,
  type RoundStep,
  withKey,
} from './core/network/key-rounds.ts'
import { sameJson } from './core/network/remember.ts'
import type { Decision } from './decisions.ts'
import type { Defaults } from './defaults.ts'
import type { Clock } from './ports/clock.ts'
import type { KeptKey, WireGuardKeys } from './wire-guard-keys.ts'

/** Keeps this node's end of WireGuard, and takes its part in the rounds in which all nodes' keys change (core/network/key-rounds.ts). */
export interface WireGuardRounds {
  /** As the kernel is to be made. The same object until it changes. */
  end(): WireGuardEnd | undefined
  /** As the kernel is, and others may build on. */
  announced(): WireGuardEnd | undefined
  /** Once it is known that there is WireGuard here. Before that, and without it, there is no end. */
  start(): void
  /** Takes the next step, if there is one. */
  look(decision: Pick<Decision, 'view' | 'liveness'>): void
  /** The kernel has been made so. */
  applied(end: WireGuardEnd | undefined): void
  /** All nodes' keys are to change as soon as the last change is over. */
  changeKeys(): void
}

export function createWireGuardRounds(options: {
  readonly self: NodeId
  readonly keys: WireGuardKeys
  /** What this node's record says, durably. */
  readonly recorded: () => WireGuardEnd | undefined
  /** Everybody who serves goes by this node's record as it is now, or time is up. */
  readonly tellAll: (signal: AbortSignal) => Promise<void>
  /** `end` is another. */
  readonly changed: () => void
  /** `announced` is another. */
  readonly announce: () => void
  readonly stopping: AbortSignal
  readonly randomHex: (bytes: number) => string
  readonly clock: Clock
  readonly logger: Logger
  readonly settings: Pick<Defaults, 'wireGuardRoundMs' | 'wireGuardPatienceMs'>
}): WireGuardRounds {
  const { self, keys, clock, logger, settings } = options
  let kept: readonly KeptKey[] = []
  let uses: number | undefined
  let end: WireGuardEnd | undefined
  let announced: WireGuardEnd | undefined
  let isStarted = false
  let isAsked = false
  let telling: Promise<void> | undefined

  function own(): OwnEnd {
    const nowMs = clock.wallMs()
    return { keys: kept.map(({ round, key, madeAtMs }) => ({ round, key, ageMs: nowMs - madeAtMs })), uses }
  }

  function set(next: OwnEnd, all: readonly KeptKey[]): void {
    const isLeft = (round: number): boolean => next.keys.some((each) => each.round === round)
    kept = all.filter(({ round }) => isLeft(round))
    uses = next.uses
    for (const { round } of all) if (!isLeft(round)) keys.remove(round)
    const said = kept.map(({ round, key }) => ({ round, key }))
    end = said.length === 0 ? undefined : { keys: said, ...(uses !== undefined && { uses }) }
  }

  function take(step: RoundStep): void {
    switch (step.kind) {
      case 'make': {
        const made = keys.make(step.round, options.randomHex(32), clock.wallMs())
        const key: AgedKey = { round: made.round, key: made.key, ageMs: 0 }
        set(withKey(own(), key), [...kept.filter(({ round }) => round !== made.round), made])
        isAsked = false
        return
      }
      case 'use':
        tellThenUse(step.round)
        return
      case 'drop':
        set({ ...own(), keys: own().keys.filter(({ round }) => round !== step.round) }, kept)
        logger.info({ round: step.round }, 'nobody sends by the older key of this node any more: it is gone')
    }
  }

  /** Whoever sends by a key has told everybody of it before: or it would not be understood. */
  function tellThenUse(round: number): void {
    const isRecorded = options.recorded()?.keys.some((each) => each.round === round) === true
    if (telling !== undefined || !isRecorded) return
    telling = tellAndUse(round)
      .catch((error: unknown) => logger.error({ err: error }, 'telling others of a new key failed'))
      .finally(() => (telling = undefined))
  }

  async function tellAndUse(round: number): Promise<void> {
    await options.tellAll(options.stopping)
    if (options.stopping.aborted || kept.at(-1)?.round !== round) return
    set({ ...own(), uses: round }, kept)
    logger.info(
      { round },
      'what this node sends to members that have WireGuard is encrypted by its newest key',
    )
    options.changed()
  }

  return {
    end: () => end,
    announced: () => announced,
    start() {
      isStarted = true
      const before = options.recorded()?.uses
      const found = keys.list()
      let next: OwnEnd = { keys: [], uses: undefined }
      for (const { round, key } of found) next = withKey(next, { round, key, ageMs: 0 })
      const isLeft = next.keys.some(({ round }) => round === before)
      // It has sent sealed before, and does not begin to send in the open because a key was lost, or its record.
      set({ keys: next.keys, uses: isLeft ? before : (next.keys[0]?.round ?? before) }, found)
      announced = end
    },
    look({ view, liveness }) {
      if (!isStarted) return
      const others = [...view.nodes.keys()].flatMap((node) => {
        const status = node === self ? undefined : view.records.get(node)?.status
        if (status?.wireGuard === undefined) return []
        return [{ liveness: liveness.get(node)?.kind ?? 'unknown', end: status.wireGuard }]
      })
      const roundMs = isAsked ? 0 : settings.wireGuardRoundMs
      const step = nextRoundStep(own(), others, { ...settings, wireGuardRoundMs: roundMs })
      if (step === undefined) return
      try {
        take(step)
      } catch (error) {
        logger.error({ err: error }, 'a new key of WireGuard could not be kept; it is tried again')
      }
    },
    applied(made) {
      if (!isStarted || sameJson(made, announced)) return
      announced = made
      options.announce()
    },
    changeKeys() {
      isAsked = true
      options.changed()
    },
  }
}
