import { brokenBy, play, scenarios } from '../sim/rapid/scenarios.ts'
import type { Row } from './row.ts'

/** The scenarios of the Rapid paper with a thousand detectors, in virtual time. */
export function rapid(seed: number, say: (line: string) => void): Row {
  const wrong: string[] = []
  const all = scenarios(1_000)
  for (const scenario of all) {
    const outcome = play(scenario, seed)
    say(JSON.stringify(outcome))
    for (const each of brokenBy(outcome, scenario)) wrong.push(`${scenario.name}: ${each}`)
  }
  return { what: 'Rapid’s scenarios, 1,000 nodes', times: all.length, tookMs: [], wrong }
}
