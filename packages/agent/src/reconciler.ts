import type { RecordMessage, RecordStore, ServiceId, ServiceSpec, SpecDigest, TaskId } from '@moot/crdt-state'
import type { Logger } from 'pino'
import type { LeaseOrders, Leases } from './core/lease/orders.ts'
import type { Action, ActionResult } from './core/reconcile/actions.ts'
import type { Conclusion, EngineDown, ReconcileInput, ReconcileOutput } from './core/reconcile/input.ts'
import { reconcile } from './core/reconcile/reconcile.ts'
import type { Decision, Decisions, WhatIf } from './decisions.ts'
import type { Defaults } from './defaults.ts'
import type { EngineWatch } from './engine-watch.ts'
import type { Executor, Finished } from './executor.ts'
import type { Clock } from './ports/clock.ts'

export interface Reconciler {
  /** Something changed: ask the core again, soon. Any number of calls become one. */
  trigger(): void
  finished(finished: Finished): void
  stop(): Promise<void>
}

/**
 * The one loop: view and observations in; record changes (durable first) and engine actions out. A trigger that comes
 * while it runs makes it run once more.
 */
export function createReconciler(options: {
  readonly decisions: Pick<Decisions, 'now' | 'whatIf'>
  readonly records: RecordStore
  readonly publish: (delta: RecordMessage) => void
  readonly watch: EngineWatch
  readonly health: () => ReconcileInput['health']
  readonly hasEnded: EngineDown['hasEnded']
  readonly executor: () => Executor
  /** Networks that reach over hosts, by this view. */
  readonly networks: (decision: Decision) => ReconcileInput['networks']
  /** How leases stand at this moment. */
  readonly leases: () => Leases
  readonly guests: () => ReconcileInput['guests']
  /** What was said of them, once it is in the record. */
  readonly guestsTold: (verdicts: ReconcileOutput['guests']) => void
  /** Told at each reconciliation, before its actions begin; what is not named in it is nobody's here. */
  readonly ordered: (orders: LeaseOrders) => void
  readonly synced: () => boolean
  readonly mayBeLost: ReconcileInput['mayBeLost']
  readonly specAt: (service: ServiceId, digest: SpecDigest) => ServiceSpec | undefined
  /** Writes it into the service's document; told again and again until it stands there. */
  readonly conclude: (conclusion: Conclusion) => void
  readonly clock: Clock
  readonly logger: Logger
  readonly settings: Defaults
  /** Called when the loop cannot go on (its store does not take a write): it tries again after `retryMs`. */
  readonly retryMs: number
}): Reconciler {
  const { records, watch, clock, logger, settings } = options
  let results = new Map<TaskId, { action: Action['kind']; result: ActionResult }>()
  /** As long as the engine is down. */
  let whatIf: WhatIf | undefined
  let idleBlocks: ReconcileInput['idleBlocks'] = new Map()
  let cancelWake: () => void = () => undefined
  let dirty = false
  let running: Promise<void> | undefined
  const stopping = new AbortController()
  const stopped = (): boolean => stopping.signal.aborted

  async function once(): Promise<void> {
    const taken = results
    results = new Map()
    try {
      await decideAndAct(taken)
    } catch (error) {
      // Nothing of it happened: the results must be told again.
      results = new Map([...taken, ...results])
      throw error
    }
  }

  function engineOf(decision: Decision): ReconcileInput['engine'] {
    const state = watch.state()
    if (state.kind === 'up') {
      whatIf = undefined
      return state
    }
    const asked = (whatIf ??= options.decisions.whatIf())
    return {
      kind: 'down',
      forMs: clock.monotonicMs() - state.sinceMs,
      hasEnded: options.hasEnded,
      placementWithout: (ended) => asked(decision, ended),
    }
  }

  async function decideAndAct(taken: typeof results): Promise<void> {
    const decision = options.decisions.now()
    const nowMs = clock.wallMs()
    const executor = options.executor()
    const output = reconcile({
      ...decision,
      containers: watch.containers(),
      health: options.health(),
      engine: engineOf(decision),
      listed: watch.listed(),
      inFlight: executor.inFlight,
      results: taken,
      networks: options.networks(decision),
      guests: options.guests(),
      idleBlocks,
      leases: options.leases(),
      synced: options.synced(),
      mayBeLost: options.mayBeLost,
      nowMs,
      specAt: options.specAt,
      settings,
    })
    idleBlocks = output.idleBlocks
    if (output.changes.size > 0) {
      options.publish(await records.write(output.changes))
      // The record is part of the view: what follows from the change is decided in the next round.
      dirty = true
    }
    if (stopped()) return
    for (const conclusion of output.conclusions) options.conclude(conclusion)
    options.guestsTold(output.guests)
    options.ordered(output.leases)
    executor.dispatch(output.actions)
    cancelWake()
    if (output.wakeAtMs !== undefined) cancelWake = clock.after(Math.max(1, output.wakeAtMs - nowMs), trigger)
  }

  async function loop(): Promise<void> {
    while (dirty && !stopped()) {
      dirty = false
      try {
        await once()
      } catch (error) {
        logger.error({ err: error }, 'reconciliation failed; it is repeated')
        cancelWake()
        cancelWake = clock.after(options.retryMs, trigger)
      }
    }
  }

  function trigger(): void {
    dirty = true
    if (running !== undefined || stopped()) return
    // Not at once: the caller may be in the middle of telling several things.
    running = Promise.resolve()
      .then(loop)
      .finally(() => {
        running = undefined
        if (dirty && !stopped()) trigger()
      })
  }

  return {
    trigger,
    finished({ task, action, result }) {
      results.set(task, { action: action.kind, result })
      if (result.kind === 'done' && result.container !== undefined) watch.observe(result.container)
      if (result.kind === 'done' && action.kind === 'remove') watch.forget(task)
      trigger()
    },
    async stop() {
      stopping.abort()
      cancelWake()
      await running
    },
  }
}
