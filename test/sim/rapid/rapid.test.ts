import { describe, expect, test } from 'vitest'
import { brokenBy, play, scenarios } from './scenarios.ts'

/** `make soak` has a thousand nodes. */
describe('of a hundred nodes', { timeout: 120_000 }, () => {
  test.each(scenarios(100).map((scenario) => [scenario.name, scenario] as const))('%s', (_, scenario) => {
    expect(brokenBy(play(scenario, 7), scenario)).toEqual([])
  })
})

/** Ten of them are a third. */
const few = scenarios(30).filter(({ name }) => name !== '10 crash at once')
describe.each([1, 2])('of thirty nodes, seed %i', { timeout: 120_000 }, (seed) => {
  test.each(few.map((scenario) => [scenario.name, scenario] as const))('%s', (_, scenario) => {
    expect(brokenBy(play(scenario, seed), scenario)).toEqual([])
  })
})

/** An ill node whose targets were all in doubt gave one of them up at its own word. */
describe('of two hundred nodes', { timeout: 120_000 }, () => {
  const lossy = scenarios(200).filter(({ name }) => name === '1 % lose 80 % of what comes in')
  test.each(lossy.map((scenario) => [scenario.name, scenario] as const))('%s', (_, scenario) => {
    expect(brokenBy(play(scenario, 1), scenario)).toEqual([])
  })
})
