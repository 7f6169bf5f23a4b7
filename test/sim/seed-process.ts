import { run } from './run.ts'
import type { SeedOfKind, Verdict } from './seeds.ts'

/** Runs the seeds that its parent sends. */
async function answer(asked: SeedOfKind): Promise<void> {
  // The story is long, and can be had again.
  const { story: _, ...verdict } = await run(asked)
  process.send?.(verdict satisfies Verdict)
}

process.on('message', (asked: SeedOfKind) => void answer(asked))
