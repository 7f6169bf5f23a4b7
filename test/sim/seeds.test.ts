import { availableParallelism } from 'node:os'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Act, Deed, PlanKind } from './acts.ts'
import { faultKinds } from './faults.ts'
import { run } from './run.ts'
import { runSeeds, type Verdict } from './seeds.ts'

const processes = availableParallelism()
/** Always the same, so that a change which breaks one of them is seen to be its cause. */
const fixed = 26
/** New each time. Each is printed where it fails: `make sim SEED=…` replays it. */
const fresh = 4
/** Of the fixed ones, run once more. */
const replayed: ReadonlySet<number> = new Set([3, 11])

const deedKinds = Object.keys({
  deploy: true,
  scale: true,
  image: true,
  contract: true,
  constrain: true,
  rebalance: true,
  force: true,
  rollback: true,
  release: true,
  attach: true,
  remove: true,
  restore: true,
  availability: true,
  join: true,
  leave: true,
} satisfies Record<Deed['kind'], true>) as readonly Deed['kind'][]

async function verdictsOf(
  seeds: readonly number[],
  kind: PlanKind = 'ordinary',
): Promise<readonly Verdict[]> {
  const verdicts: Verdict[] = []
  await runSeeds(seeds, { processes, kind, onVerdict: (verdict) => verdicts.push(verdict) })
  return verdicts
}

function failuresOf(verdicts: readonly Verdict[]): readonly string[] {
  return verdicts
    .filter(({ wrong }) => wrong.length > 0)
    .map(({ seed, wrong }) => `make sim SEED=${seed}: ${wrong.slice(0, 5).join('; ')}`)
}

const from = (first: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, index) => first + index)

describe('clusters under every fault, of fixed seeds', () => {
  let verdicts: readonly Verdict[] = []
  beforeAll(async () => {
    verdicts = await verdictsOf(from(1, fixed))
  }, 600_000)

  test('keep every promise', () => {
    expect(failuresOf(verdicts)).toEqual([])
  })

  test('meet every kind of fault, and people do everything that they can', () => {
    const kinds: readonly Act['kind'][] = [...faultKinds, ...deedKinds]
    expect(kinds.filter((kind) => !verdicts.some(({ met }) => met.includes(kind)))).toEqual([])
  })

  test('go alike in any process', async () => {
    for (const { seed, storyHash } of verdicts.filter((verdict) => replayed.has(verdict.seed)))
      expect(await run({ seed })).toMatchObject({ seed, storyHash })
  })
})

const worse = {
  storm: ['partition', 'bridge', 'holder apart', 'one way', 'loss', 'flapping', 'image', 'scale'],
  rush: ['image', 'constrain', 'scale', 'rollback', 'force', 'rebalance', 'availability'],
} satisfies Partial<Record<PlanKind, readonly Act['kind'][]>>

describe.each(['storm', 'rush'] as const)('runs of the kind %s', { timeout: 600_000 }, (kind) => {
  test('keep every promise, and are what they are for', async () => {
    const verdicts = await verdictsOf(from(1, 8), kind)
    const told = failuresOf(verdicts).map((line) => line.replace('SEED', `KIND=${kind} SEED`))
    expect(told).toEqual([])
    expect(worse[kind].filter((each) => !verdicts.some(({ met }) => met.includes(each)))).toEqual([])
  })
})

test('clusters under every fault, of fresh seeds, keep every promise', { timeout: 600_000 }, async () => {
  expect(failuresOf(await verdictsOf(from(Date.now() % 1_000_000_000, fresh)))).toEqual([])
})
