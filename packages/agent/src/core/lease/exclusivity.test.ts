import { describe, expect, it } from 'vitest'
import { play, type ProfileName } from './testing/chaos.ts'
import { mutants } from './testing/mutants.ts'

/** More of them: `MOOT_LEASE_RUNS=10000 npx vitest run --project unit-virtual exclusivity`. */
const runs = Number(process.env['MOOT_LEASE_RUNS'] ?? 100)
const timeoutMs = 60_000 + runs * 200

describe('an exclusive slot', () => {
  it.for<readonly [ProfileName, string]>([
    ['mixed', 'partitions, bridges, pauses, crashes, lost disks and clocks 5 % fast or slow'],
    ['voters', 'voters that change all the time, cut off and killed in the middle of it'],
    ['slow', 'answers that come late and then not at all'],
  ])('has one holder at a time, and in a calm it has one: %s (%s)', { timeout: timeoutMs }, ([profile]) => {
    let moves = 0
    let served = 0
    for (let seed = 0; seed < runs; seed += 1) {
      const { violations, ...outcome } = play(seed, profile)
      moves += outcome.moves
      served += outcome.isServed ? 1 : 0
      expect(violations, `play(${seed}, '${profile}')`).toEqual([])
    }
    // A run in which nothing happens proves nothing.
    expect(moves).toBeGreaterThan(runs)
    expect(served).toBeGreaterThan(runs * 0.6)
  })

  it.for(Object.entries(mutants))(
    'is held twice, or its fence does not grow, if %s',
    { timeout: timeoutMs },
    ([, mutant]) => {
      let seed = 0
      while (seed < 400 && !isBroken(seed)) seed += 1
      expect(seed).toBeLessThan(400)

      function isBroken(seed: number): boolean {
        const { violations } = play(seed, mutant.shownBy, mutant)
        return violations.some((violation) => !violation.includes('does not run'))
      }
    },
  )
})
