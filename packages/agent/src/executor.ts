import type { TaskId } from '@moot/crdt-state'
import pLimit, { type LimitFunction } from 'p-limit'
import type { Logger } from 'pino'
import type { Action, ActionResult } from './core/reconcile/actions.ts'
import type { Defaults } from './defaults.ts'
import type { Clock } from './ports/clock.ts'
import type { Engine } from './ports/engine.ts'
import { failureCause } from './ports/engine.errors.ts'

/** An action that has ended, for the next reconciliation. */
export interface Finished {
  readonly task: TaskId
  readonly action: Action
  readonly result: ActionResult
}

export interface Executor {
  /** Tasks with an action under way. */
  readonly inFlight: ReadonlySet<TaskId>
  dispatch(actions: readonly Action[]): void
  /** Resolves when nothing is under way any more; what is under way is aborted. */
  stop(): Promise<void>
}

/**
 * Carries actions out on the engine: at most one per task, `concurrency()` at a time. Stops wait in a lane of their own,
 * since a grace period may be long and must not hold up a start. What takes longer than `giveWayMs` (a start that hangs
 * in a volume, a grace of an hour) goes on and leaves its place in the lane to the next, so that a few such tasks do
 * not stand in the way of all others. Having an image is waiting, not work (the engine shares and bounds pulls), and so is draining.
 */
export function createExecutor(options: {
  readonly engine: Engine
  /** Resolves when nobody sends traffic to what this node's record says is to stop, or has had the time to know. */
  readonly drain: (signal: AbortSignal) => Promise<void>
  /** Resolves once the kernel knows the bridges that there are now: before that a container on a new one reaches nobody. */
  readonly bridged: (signal: AbortSignal) => Promise<void>
  readonly clock: Clock
  /** Asked at each dispatch: the engine's host may have been seen only now. */
  readonly concurrency: () => number
  readonly stopConcurrency: number
  readonly giveWayMs: number
  readonly logger: Logger
  readonly finished: (finished: Finished) => void
}): Executor {
  const { clock, logger, finished } = options
  const work = pLimit(options.concurrency())
  const stops = pLimit(options.stopConcurrency)
  const abort = new AbortController()
  const inFlight = new Set<TaskId>()
  const running = new Set<Promise<void>>()

  async function run(action: Action): Promise<void> {
    const result = await perform(options, action, abort.signal)
    inFlight.delete(action.task)
    if (abort.signal.aborted) return
    if (result.kind === 'failed') {
      logger.warn(
        { task: action.task, action: action.kind, cause: result.cause, error: result.error },
        'action failed',
      )
    } else {
      logger.debug({ task: action.task, action: action.kind }, 'action done')
    }
    finished({ task: action.task, action, result })
  }

  async function inLane(lane: LimitFunction, action: Action): Promise<void> {
    let ended = Promise.resolve()
    await lane(() => {
      ended = run(action)
      return endOrGiveWay(ended)
    })
    await ended
  }

  async function endOrGiveWay(work: Promise<void>): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const cancel = clock.after(options.giveWayMs, resolve)
    try {
      await Promise.race([work, late])
    } finally {
      cancel()
    }
  }

  function begin(action: Action): Promise<void> {
    if (action.kind === 'prepare' || action.kind === 'drain') return run(action)
    return inLane(action.kind === 'stop' ? stops : work, action)
  }

  return {
    inFlight,
    dispatch(actions) {
      work.concurrency = options.concurrency()
      for (const action of actions) {
        if (abort.signal.aborted || inFlight.has(action.task)) continue
        inFlight.add(action.task)
        const promise = begin(action).finally(() => running.delete(promise))
        running.add(promise)
      }
    },
    async stop() {
      abort.abort(new Error('the agent stops'))
      await Promise.allSettled(running)
    },
  }
}

async function perform(
  { engine, drain, bridged }: Pick<Parameters<typeof createExecutor>[0], 'engine' | 'drain' | 'bridged'>,
  action: Action,
  signal: AbortSignal,
): Promise<ActionResult> {
  try {
    switch (action.kind) {
      case 'drain':
        await drain(signal)
        return { kind: 'done' }
      case 'prepare':
        await engine.prepare(action.setup, signal)
        return { kind: 'done' }
      case 'create': {
        const container = await engine.create(action.setup, signal)
        if (action.setup.overlays.length > 0) await bridged(signal)
        return { kind: 'done', container }
      }
      case 'start':
        return { kind: 'done', container: await engine.start(action.container, signal) }
      case 'stop': {
        const container = await engine.stop(action.container, action.graceMs, signal)
        return container === undefined ? { kind: 'done' } : { kind: 'done', container }
      }
      case 'remove':
        await engine.remove(action.container, signal)
        return { kind: 'done' }
    }
  } catch (error) {
    return {
      kind: 'failed',
      error: error instanceof Error ? error.message : String(error),
      cause: failureCause(error),
    }
  }
}

/** Containers created or started at a time on a host with so many processors. */
export function engineConcurrency(
  nanoCpus: number | undefined,
  settings: Pick<Defaults, 'engineConcurrencyMin' | 'engineConcurrencyMax'>,
): number {
  const cores = Math.floor((nanoCpus ?? 0) / 1e9)
  return Math.min(settings.engineConcurrencyMax, Math.max(settings.engineConcurrencyMin, cores))
}
