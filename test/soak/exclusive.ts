import {
  beatsOf,
  clearBeats,
  cuts,
  cutTheHolder,
  deployExclusive,
  judge,
  untilVoters,
} from '../e2e/exclusive-trials.ts'
import type { Hosts } from '../e2e/hosts.ts'
import { allReady } from '../e2e/questions.ts'
import type { Random } from '../sim/random.ts'
import type { Row } from './row.ts'

/** The last grant runs out, the next holder takes the lease (design/exclusive.md), and a container starts. */
const movedMedianBoundMs = 16_000
/** Whoever is cut off again and again is given a minute to come back before its tasks are anybody else's. */
const movedBoundMs = 76_000
/** The lease, the watchdog's wake-up, the kill. */
const goneBoundMs = 11_500

/** The host of an exclusive task is cut off from the majority, in each of the ways in turn. */
export async function exclusive(
  hosts: Hosts,
  times: number,
  random: Random,
  say: (line: string) => void,
): Promise<readonly Row[]> {
  await untilVoters(hosts, 5)
  await deployExclusive(hosts)
  const gone: number[] = []
  const moved: number[] = []
  const wrong: string[] = []
  for (let turn = 0; turn < times; turn += 1) {
    const how = cuts[turn % cuts.length] ?? 'cable pulled'
    try {
      const outcome = await cutTheHolder(hosts, how, random.between(0, 3))
      gone.push(outcome.goneAfterMs)
      moved.push(outcome.movedAfterMs)
      say(
        `cut ${turn + 1}: ${outcome.where}: gone ${outcome.goneAfterMs} ms and elsewhere ${outcome.movedAfterMs} ms after it, one everywhere ${outcome.wellAfterMs} ms after healing`,
      )
    } catch (error) {
      wrong.push(`cut ${turn + 1}: ${how}: ${error instanceof Error ? error.message : String(error)}`)
      await hosts.heal()
      for (const host of hosts.all()) {
        if (!host.isOn()) await hosts.start(host.index)
        hosts.agentContinue(host.index)
        if (host.agentPid === undefined) await hosts.agentStart(host.index)
      }
    }
    await allReady(hosts)
    await untilVoters(hosts, 5)
  }
  wrong.push(...judge(beatsOf(hosts)))
  // What still runs would write more.
  await hosts.reset()
  clearBeats(hosts)
  return [
    { what: 'exclusive task, its host cut off: gone', times, tookMs: gone, boundMs: goneBoundMs, wrong },
    {
      what: 'exclusive task, its host cut off: elsewhere',
      times,
      tookMs: moved,
      boundMs: movedBoundMs,
      medianBoundMs: movedMedianBoundMs,
      wrong: [],
    },
  ]
}
