import type { Hosts } from '../e2e/hosts.ts'
import { allReady, untilRuns } from '../e2e/questions.ts'
import {
  badUpdate,
  type BadUpdate,
  badUpdates,
  deployTen,
  interruptedUpdate,
  interruptions,
  parallelism,
  replicas,
} from '../e2e/update-trials.ts'
import type { Random } from '../sim/random.ts'
import type { Row } from './row.ts'

/** Each kind of bad image in each order: what runs on, and that it goes back by itself. */
export async function badUpdatesOf(
  hosts: Hosts,
  times: number,
  say: (line: string) => void,
): Promise<readonly Row[]> {
  const rows: Row[] = []
  for (const order of ['stop-first', 'start-first'] as const) {
    const least = order === 'stop-first' ? replicas - parallelism : replicas
    const tookMs: number[] = []
    const wrong: string[] = []
    for (let round = 1; round <= times; round += 1) {
      for (const what of Object.keys(badUpdates) as BadUpdate[]) {
        await hosts.reset()
        await deployTen(hosts, order)
        const { fewest, looks, backAfterMs } = await badUpdate(hosts, what)
        tookMs.push(backAfterMs)
        const line = `round ${round}, ${order}, an image ${what}: never fewer than ${fewest} (${looks} looks), back ${backAfterMs} ms after the failure`
        say(line)
        if (fewest < least) wrong.push(line)
      }
    }
    rows.push({
      what: `update to a bad image, ${order}`,
      times: tookMs.length,
      tookMs,
      boundMs: 60_000,
      wrong,
    })
  }
  return rows
}

/** Something dies at a random moment of an update, which ends fully new all the same. */
export async function interruptedUpdates(
  hosts: Hosts,
  times: number,
  random: Random,
  say: (line: string) => void,
): Promise<Row> {
  await deployTen(hosts, 'stop-first')
  const tookMs: number[] = []
  const wrong: string[] = []
  for (let turn = 0; turn < times; turn += 1) {
    const what = interruptions[turn % interruptions.length] ?? 'client killed'
    try {
      const { where, wellAfterMs } = await interruptedUpdate(hosts, what, random)
      tookMs.push(wellAfterMs)
      say(`update ${turn + 1}: ${where}: all ten new after ${wellAfterMs} ms`)
    } catch (error) {
      wrong.push(`update ${turn + 1}: ${what}: ${error instanceof Error ? error.message : String(error)}`)
    }
    for (const host of hosts.all()) if (!host.isOn()) await hosts.start(host.index)
    await allReady(hosts)
    await untilRuns(hosts, 'web', replicas, 60_000)
  }
  return { what: 'update with a death in it', times, tookMs, boundMs: 120_000, wrong }
}
