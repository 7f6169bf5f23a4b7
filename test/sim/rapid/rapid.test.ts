import { describe, expect, test } from 'vitest'
import { play, scenarios } from './scenarios.ts'

/** As many as `make soak` has 1,000 of. */
const nodes = 100
/** Each observer and each target of one that is ill has an episode a minute: suspected, silent, returned, suspected no more; and the accused answers. */
const publishedMax = 5 * 8

describe('of a hundred nodes', { timeout: 120_000 }, () => {
  test.each(scenarios(nodes).map((scenario) => [scenario.name, scenario] as const))('%s', (_, scenario) => {
    const outcome = play(scenario, 7)
    expect(outcome.healthyEvicted).toBe(0)
    expect(outcome.healthyEvictedByIll).toBe(0)
    expect(outcome.evictionsOfOneMax).toBeLessThanOrEqual(1)
    expect(outcome.decisionsMax).toBeLessThanOrEqual(1)
    expect(outcome.decidedAfterMs).toBeLessThan(3_000)
    expect(outcome.publishedInLastMinute).toBeLessThanOrEqual(publishedMax * scenario.ill.length)
    expect(outcome.outBytesPerSecond).toBeLessThanOrEqual(1_024)
    expect(outcome.illEvicted).toBeGreaterThanOrEqual(scenario.crashes === true ? scenario.ill.length : 0)
  })
})
