import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Act, Plan, PlanKind } from './acts.ts'

/** One seed's run, as its process tells of it. */
export interface Verdict {
  readonly seed: number
  readonly plan: Plan
  /** Empty = every promise was kept. */
  readonly wrong: readonly string[]
  readonly virtualMs: number
  /** After how long acknowledged writes were seen at every host, where nothing stood in their way, ms. */
  readonly visibleMs: readonly number[]
  /** Kinds of faults and deeds that came to something. */
  readonly met: readonly Act['kind'][]
  /** Two runs with the same one went alike, event by event. */
  readonly storyHash: string
  /** It got stuck, or its process ended: nothing more is known of it. */
  readonly isLost?: boolean
}

/** A run that needs longer than this is stuck, not slow: the slowest takes a tenth of it. */
const stuckAfterMs = 180_000
/** Views and placements live for milliseconds: with a nursery that holds them, a run takes two thirds of the time. */
const execArgv = ['--max-semi-space-size=64']

/** What a process is asked to run. */
export interface SeedOfKind {
  readonly seed: number
  readonly kind: PlanKind
}

export interface SeedsOptions {
  readonly processes: number
  /** Default: ordinary. */
  readonly kind?: PlanKind
  readonly onVerdict: (verdict: Verdict) => void
}

/** Runs seeds in so many processes, and tells of each as it ends. A seed that gets stuck is a failed one. */
export async function runSeeds(seeds: Iterable<number>, options: SeedsOptions): Promise<void> {
  const { kind = 'ordinary' } = options
  const left = seeds[Symbol.iterator]()
  const one = async (): Promise<void> => {
    let child = startProcess()
    try {
      for (let next = left.next(); next.done !== true; next = left.next()) {
        const verdict = await ask(child, { seed: next.value, kind })
        options.onVerdict(verdict)
        if (child.connected && !verdict.isLost) continue
        child.kill('SIGKILL')
        child = startProcess()
      }
    } finally {
      child.kill('SIGKILL')
    }
  }
  await Promise.all(Array.from({ length: options.processes }, one))
}

function startProcess(): ChildProcess {
  return fork(join(import.meta.dirname, 'seed-process.ts'), { execArgv })
}

async function ask(child: ChildProcess, asked: SeedOfKind): Promise<Verdict> {
  const ended = new AbortController()
  const onExit = (): void => ended.abort()
  child.once('exit', onExit)
  const late = AbortSignal.timeout(stuckAfterMs)
  try {
    const told = once(child, 'message', { signal: AbortSignal.any([ended.signal, late]) })
    // To a process that has just ended nothing can be said.
    child.send(asked, (error) => error && ended.abort())
    const [verdict] = (await told) as [Verdict]
    return verdict
  } catch {
    const why = late.aborted
      ? `is still not over after ${stuckAfterMs / 1_000} s of real time`
      : 'ended its process'
    return lost(asked.seed, why)
  } finally {
    child.off('exit', onExit)
  }
}

function lost(seed: number, why: string): Verdict {
  const plan = { hosts: 0, founders: 0, acts: [], wholeNetwork: false, calmAtMs: 0 }
  const wrong = [`the run ${why}`]
  return { seed, plan, wrong, virtualMs: 0, visibleMs: [], met: [], storyHash: '', isLost: true }
}
