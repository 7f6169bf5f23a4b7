import type { NodeId, RecordMessage, RecordStore } from '@moot/crdt-state'
import pLimit from 'p-limit'
import type { Logger } from 'pino'
import { alertEntries, missedUnsaid, stepDetector } from '../core/membership/detector.ts'
import { isCutOffNow } from '../core/membership/own-solitude.ts'
import {
  type AlertChanges,
  type DetectorInput,
  type DetectorState,
  type Probe,
  type ProbeOutcome,
  startDetector,
} from '../core/membership/detector-state.ts'
import { isDecided } from '../core/membership/island.ts'
import type { MembershipView } from '../core/membership/liveness.ts'
import type { Defaults } from '../defaults.ts'
import type { Clock } from '../ports/clock.ts'
import type { Mesh } from '../ports/mesh.ts'
import type { Witness } from '../ports/witness.ts'

export interface MembershipDriver {
  start(): void
  stop(): Promise<void>
  /** This node may be cut off from all others, and replaces nothing of theirs. */
  isCutOff(): boolean
  /** Whom it does not hear, though its record says nothing of it yet. */
  missed(): readonly NodeId[]
  /** It takes itself for cut off: all whom it asked have had the time to answer. */
  isIsland(): boolean
}

/** Runs the detector: probes on the clock, alerts into this node's record. */
export function createMembershipDriver(options: {
  readonly mesh: Mesh
  readonly witness: Witness
  readonly records: RecordStore
  readonly view: () => MembershipView
  readonly clock: Clock
  readonly logger: Logger
  readonly settings: Defaults
  readonly publish: (delta: RecordMessage) => void
  /** Whether this node is cut off has changed, or whom it misses without a word in its record. */
  readonly doubtChanged?: () => void
}): MembershipDriver {
  const { mesh, witness, records, clock, logger, settings } = options
  const limit = pLimit(settings.probeConcurrency)
  let state: DetectorState | undefined
  let pending = new Map<
    string,
    ReturnType<typeof alertEntries> extends ReadonlyMap<string, infer V> ? V : never
  >()
  let writing: Promise<void> | undefined
  /** The last write failed: the next one waits for a tick, and until one succeeds the log is not told again. */
  let failed = false
  let wasCutOff = false
  let wasMissed = ''
  let wasIsland = false
  let cancelTick: () => void = () => undefined
  let cancelLook: (() => void) | undefined
  let unsubscribe: () => void = () => undefined
  let stopped = false

  type Event = DetectorInput extends infer Input
    ? Input extends DetectorInput
      ? Omit<Input, 'nowMs' | 'wallMs'>
      : never
    : never

  function feed(event: Event): void {
    if (state === undefined || stopped) return
    const input = { ...event, nowMs: clock.monotonicMs(), wallMs: clock.wallMs() } as DetectorInput
    const step = stepDetector(state, input, settings)
    state = step.state
    say(step.changes)
    for (const probe of step.probe) send(probe)
    if (step.askWitness) askWitness()
    tellDoubt()
  }

  function say(changes: AlertChanges): void {
    for (const [target, alert] of changes) {
      logger.info({ target, evidence: alert?.evidence ?? 'withdrawn' }, 'alert')
    }
    for (const [key, value] of alertEntries(changes)) pending.set(key, value)
    if (!failed) startWriting()
  }

  function startWriting(): void {
    writing ??= write().finally(() => {
      writing = undefined
    })
  }

  /** In one write what came together; what cannot be written is tried again with the next tick. */
  async function write(): Promise<void> {
    while (pending.size > 0) {
      const changes = pending
      pending = new Map()
      try {
        options.publish(await records.write(changes))
        failed = false
      } catch (error) {
        pending = new Map([...changes, ...pending])
        if (!stopped && !failed) logger.error({ err: error }, 'cannot write alerts; they are tried again')
        failed = true
        return
      }
    }
  }

  /** Who has just spoken need not be asked: two nodes that watch each other send one probe an interval, not two. */
  async function ask({ target, timeoutMs }: Probe): Promise<ProbeOutcome> {
    const quietMs = mesh.quietMs(target)
    if (quietMs !== undefined && quietMs < settings.probeFreshMs) return { kind: 'answered' }
    return mesh.probe(target, timeoutMs)
  }

  function send(probe: Probe): void {
    const { target } = probe
    void limit(async () => {
      const sentAtMs = clock.monotonicMs()
      try {
        feed({ kind: 'probe-result', ...probe, sentAtMs, result: await ask(probe) })
      } catch (error) {
        logger.error({ err: error, target }, 'a probe failed in itself')
        feed({ kind: 'probe-result', ...probe, sentAtMs, result: { kind: 'unasked' } })
      }
    })
  }

  function askWitness(): void {
    witness
      .ask(settings.witnessTimeoutMs)
      .then((word) => feed({ kind: 'witness', word }))
      // It is asked again.
      .catch((error: unknown) => logger.error({ err: error }, 'the witness could not be asked'))
  }

  const isCutOff = (): boolean => state !== undefined && isCutOffNow(state, clock.monotonicMs(), settings)

  /** Not while others and the witness are still being asked. */
  const isIsland = (): boolean => isCutOff() && state !== undefined && isDecided(state.solitude)

  const missed = (): readonly NodeId[] => (state === undefined ? [] : missedUnsaid(state, settings))

  function tellDoubt(): void {
    const isNow = isCutOff()
    const missedNow = missed().join()
    if (isNow !== wasCutOff || missedNow !== wasMissed) {
      wasCutOff = isNow
      wasMissed = missedNow
      options.doubtChanged?.()
    }
    if (isIsland() === wasIsland) return
    wasIsland = !wasIsland
    if (wasIsland)
      logger.warn('no other member answers, nor does the way to them: this node takes itself for cut off')
    else logger.info('this node is no longer cut off')
  }

  function tick(): void {
    cancelTick = clock.after(settings.probeIntervalMs, tick)
    // Members come and go without any record's change.
    const view = options.view()
    if (view !== state?.view) feed({ kind: 'view', view })
    feed({ kind: 'tick' })
    if (failed) startWriting()
  }

  /** Records change by the hundred at times: looked at once per batch. */
  function lookSoon(): void {
    if (cancelLook !== undefined || stopped) return
    cancelLook = clock.after(settings.recordBatchMs, () => {
      cancelLook = undefined
      feed({ kind: 'view', view: options.view() })
    })
  }

  return {
    isCutOff,
    missed,
    isIsland,
    start() {
      const view = options.view()
      witness.start()
      state = startDetector(view, clock.monotonicMs())
      feed({ kind: 'view', view })
      const offRecords = records.subscribe(lookSoon)
      const offPeers = mesh.onPeer(({ kind, node }) => {
        if (kind === 'connected') feed({ kind, node })
      })
      unsubscribe = () => {
        offRecords()
        offPeers()
      }
      tick()
    },
    async stop() {
      stopped = true
      witness.stop()
      cancelTick()
      cancelLook?.()
      unsubscribe()
      // Probes under way end by their own time limit, and change nothing any more.
      await writing
    },
  }
}
