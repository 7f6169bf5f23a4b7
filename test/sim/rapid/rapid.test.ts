import { describe, expect, test } from 'vitest'
import { brokenBy, play, scenarios } from './scenarios.ts'

/** As many as `make soak` has 1,000 of. */
const nodes = 100

describe('of a hundred nodes', { timeout: 120_000 }, () => {
  test.each(scenarios(nodes).map((scenario) => [scenario.name, scenario] as const))('%s', (_, scenario) => {
    expect(brokenBy(play(scenario, 7), scenario)).toEqual([])
  })
})
