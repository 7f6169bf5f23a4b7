import { availableParallelism } from 'node:os'
import { expect, test } from 'vitest'
import { run } from './run.ts'
import { runSeeds, type Verdict } from './seeds.ts'

const processes = availableParallelism()
/** Always the same, so that a change which breaks one of them is seen to be its cause. */
const fixed = 40
/** New each time. Each is printed where it fails: `make sim SEED=…` replays it. */
const fresh = 16

async function failuresOf(seeds: readonly number[]): Promise<readonly string[]> {
  const failed: Verdict[] = []
  await runSeeds(seeds, {
    processes,
    onVerdict(verdict) {
      if (verdict.wrong.length > 0) failed.push(verdict)
    },
  })
  return failed.map(({ seed, wrong }) => `make sim SEED=${seed}: ${wrong.slice(0, 5).join('; ')}`)
}

const from = (first: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, index) => first + index)

test('clusters under every fault, of fixed seeds, keep every promise', { timeout: 600_000 }, async () => {
  expect(await failuresOf(from(1, fixed))).toEqual([])
})

test('clusters under every fault, of fresh seeds, keep every promise', { timeout: 600_000 }, async () => {
  expect(await failuresOf(from(Date.now() % 1_000_000_000, fresh))).toEqual([])
})

test('a seed replays exactly', async () => {
  for (const seed of [3, 11, 25]) {
    const first = await run({ seed })
    const second = await run({ seed })
    expect(second.story).toEqual(first.story)
    expect(first.story.length).toBeGreaterThan(20)
  }
})
