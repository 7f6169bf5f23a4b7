import { run } from './run.ts'
import type { Verdict } from './seeds.ts'

/** Runs the seeds that its parent sends. */
async function answer(seed: number): Promise<void> {
  const { plan, wrong, virtualMs, visibleMs } = await run({ seed })
  const verdict: Verdict = { seed, plan, wrong, virtualMs, visibleMs }
  process.send?.(verdict)
}

process.on('message', (seed: number) => void answer(seed))
