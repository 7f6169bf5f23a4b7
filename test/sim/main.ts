/**
 * `make sim`: clusters under faults, one for each seed.
 *     SEED=7 node test/sim/main.ts      replays one run, and tells its story
 *     RUNS=10000 node test/sim/main.ts  so many fresh seeds; of a failure the seed and a smaller story
 *     FROM=5000 RUNS=2000 …             these seeds: to go on with a long run that was cut
 *     KIND=storm …                      few hosts and many faults that part them; KIND=rush: people in a hurry
 */
import { availableParallelism } from 'node:os'
import { percentile } from '../percentile.ts'
import { describeAct, type PlanKind, planKinds } from './acts.ts'
import { type Outcome, run } from './run.ts'
import { runSeeds, type Verdict } from './seeds.ts'
import { shrink } from './shrink.ts'

const shrinkForMs = 300_000
const progressEveryMs = 10_000
/** Failures that are looked into; the others are only counted. */
const toldMax = 3

const seed = process.env['SEED'] ?? ''
const kind = kindOf(process.env['KIND'] || 'ordinary')
const runs = Number(process.env['RUNS'] || 100)
process.exitCode = (seed === '' ? await many() : await replay(Number(seed))) ? 0 : 1

function kindOf(text: string): PlanKind {
  const known = planKinds.find((each) => each === text)
  if (known !== undefined) return known
  throw new Error(`no runs of the kind ${text}; KIND is one of ${planKinds.join(', ')}`)
}

async function replay(which: number): Promise<boolean> {
  const outcome = await run({ seed: which, kind })
  console.log(outcome.story.join('\n'))
  if (outcome.wrong.length === 0) {
    console.log(`\nseed ${which}: every promise was kept`)
    return true
  }
  tell(outcome)
  await tellSmaller(outcome)
  return false
}

async function many(): Promise<boolean> {
  const first = Number(process.env['FROM'] || Date.now() % 1_000_000_000)
  const begunAt = performance.now()
  const failed: Verdict[] = []
  let done = 0
  let virtualMs = 0
  const visibleMs: number[] = []
  const progress = (): void => {
    const seconds = (performance.now() - begunAt) / 1_000
    const speed = Math.round(virtualMs / 1_000 / seconds)
    console.log(
      `${done} of ${runs} runs, ${failed.length} failed; ${(virtualMs / 3_600_000).toFixed(1)} virtual hours in ${seconds.toFixed()} s, ${speed} × real time`,
    )
  }
  console.log(`seeds ${first} to ${first + runs - 1}`)
  const timer = setInterval(progress, progressEveryMs)
  await runSeeds(
    Array.from({ length: runs }, (_, index) => first + index),
    {
      processes: availableParallelism(),
      kind,
      onVerdict(verdict) {
        done += 1
        virtualMs += verdict.virtualMs
        visibleMs.push(...verdict.visibleMs)
        if (verdict.wrong.length === 0) return
        failed.push(verdict)
        tell(verdict)
      },
    },
  )
  clearInterval(timer)
  progress()
  const [median, p99, worst] = [0.5, 0.99, 1].map((share) => percentile(visibleMs, share))
  console.log(
    `${visibleMs.length} undisturbed writes were seen everywhere after ${median} ms (median), ${p99} (p99), ${worst} (worst)`,
  )
  for (const verdict of failed.filter(({ isLost }) => isLost !== true).slice(0, toldMax))
    await tellSmaller(await run({ seed: verdict.seed, kind }))
  return failed.length === 0
}

function tell({ seed: which, wrong }: Verdict): void {
  console.log(`\nseed ${which} failed (make sim ${kind === 'ordinary' ? '' : `KIND=${kind} `}SEED=${which}):`)
  for (const line of wrong) console.log(`  ${line}`)
}

async function tellSmaller(failed: Outcome): Promise<void> {
  if (failed.wrong.length === 0) return
  console.log(`\nlooking for a smaller story of seed ${failed.seed} …`)
  const small = await shrink(failed, { untilMs: performance.now() + shrinkForMs })
  const { plan } = small
  console.log(`\nwith ${plan.acts.length} of ${failed.plan.acts.length} acts, ${plan.hosts} hosts:`)
  for (const act of plan.acts) console.log(`  ${(act.atMs / 1_000).toFixed(3)} ${describeAct(act)}`)
  console.log(`\n${small.story.join('\n')}\n`)
  tell(small)
}
