import { availableParallelism } from 'node:os'
import { runSeeds } from '../sim/seeds.ts'
import type { Row } from './row.ts'

/** Simulated clusters of fresh seeds. `make sim SEED=…` tells the story of one that failed. */
export async function simulator(runs: number, say: (line: string) => void): Promise<Row> {
  const first = Date.now() % 1_000_000_000
  const tookMs: number[] = []
  const wrong: string[] = []
  let begunAt = performance.now()
  await runSeeds(
    Array.from({ length: runs }, (_, index) => first + index),
    {
      processes: availableParallelism(),
      onVerdict(verdict) {
        tookMs.push(Math.round(performance.now() - begunAt))
        begunAt = performance.now()
        for (const line of verdict.wrong) wrong.push(`seed ${verdict.seed}: ${line}`)
        if (tookMs.length % 100 === 0) say(`${tookMs.length} of ${runs} simulated clusters`)
      },
    },
  )
  return { what: 'simulated clusters', times: runs, tookMs, wrong }
}
