import { run } from './run.ts'
import { kind, type Verdict } from './seeds.ts'

/** Runs the seeds that its parent sends. */
async function answer(seed: number): Promise<void> {
  // The story is long, and can be had again.
  const { story: _, ...verdict } = await run({ seed, kind })
  process.send?.(verdict satisfies Verdict)
}

process.on('message', (seed: number) => void answer(seed))
