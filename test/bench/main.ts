/** All benchmarks, one after the other: nothing else should run on the machine. Options are those of `cluster.ts`. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

for (const bench of [
  'placement.ts',
  'decisions.ts',
  'network.ts',
  'scale.ts',
  'simulator.ts',
  'data-plane.ts',
  'traffic.ts',
  'cluster.ts',
]) {
  process.stdout.write(`\n${bench}\n`)
  const path = fileURLToPath(new URL(bench, import.meta.url))
  const options = bench === 'cluster.ts' ? process.argv.slice(2) : []
  // As `make sim` does.
  const flags = bench === 'simulator.ts' ? ['--max-semi-space-size=64'] : []
  const { status } = spawnSync(process.execPath, [...flags, path, ...options], { stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
}
