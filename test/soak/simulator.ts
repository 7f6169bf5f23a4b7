import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Row } from './row.ts'

/** The simulator's own suite, with many more seeds; it prints the seed of a failure. */
export function simulator(seeds: number): Row {
  const begunAt = performance.now()
  const { status } = spawnSync('vitest', ['run', '--project', 'unit', 'test/sim'], {
    cwd: join(import.meta.dirname, '../..'),
    stdio: 'inherit',
    env: { ...process.env, MOOT_SIM_SEEDS: String(seeds) },
  })
  const tookMs = [Math.round(performance.now() - begunAt)]
  const wrong = status === 0 ? [] : ['a seed failed: see above']
  return { what: 'simulated clusters', times: seeds, tookMs, wrong }
}
