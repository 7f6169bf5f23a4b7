/**
 * The scenarios of the Rapid paper with production's detector: `node test/sim/rapid/main.ts [NODES [SCENARIO]]`. One JSON line
 * each. design/mesh.md has the figures.
 */
import { play, scenarios } from './scenarios.ts'

const [nodes = 1_000, only] = process.argv.slice(2).map(Number)
for (const [index, scenario] of scenarios(nodes).entries()) {
  if (only !== undefined && only !== index) continue
  const begunMs = performance.now()
  const outcome = play(scenario, 1)
  const seconds = Math.round((performance.now() - begunMs) / 1_000)
  console.log(JSON.stringify({ ...outcome, seconds }))
}
