import { setTimeout as delay } from 'node:timers/promises'
import type { Hosts } from '../e2e/hosts.ts'
import { allReady } from '../e2e/questions.ts'
import type { Random } from '../sim/random.ts'
import { randomEdit } from './edits.ts'
import type { Row } from './row.ts'
import { untilWell } from './wanted.ts'

const settleBoundMs = 90_000

/** Random groups, edits on all sides for a random time, then one network again: all must agree and run exactly that. */
export async function partitions(
  hosts: Hosts,
  times: number,
  random: Random,
  say: (line: string) => void,
): Promise<Row> {
  const tookMs: number[] = []
  const wrong: string[] = []
  for (let turn = 1; turn <= times; turn += 1) {
    const groups = randomGroups(hosts, random)
    await hosts.partition(groups)
    const edits: string[] = []
    const count = random.between(4, 10)
    for (let edit = 0; edit < count; edit += 1) {
      const host = random.pick(hosts.all())
      if (host !== undefined) edits.push(await randomEdit(host, random))
      await delay(random.between(0, 1_500))
    }
    await hosts.heal()
    const { tookMs: ms, wrong: left } = await untilWell(hosts, settleBoundMs)
    tookMs.push(ms)
    const cut = groups.map((group) => group.join(',')).join(' | ')
    for (const each of left) wrong.push(`partition ${turn} (${cut}; ${edits.join(', ')}): ${each}`)
    say(
      `partition ${turn}: ${cut}, ${count} edits, well ${ms} ms after healing${left.length > 0 ? ': NOT' : ''}`,
    )
    await allReady(hosts)
  }
  return { what: 'partition with edits on all sides', times, tookMs, boundMs: settleBoundMs, wrong }
}

/** Two or three groups, none of them empty. */
function randomGroups(hosts: Hosts, random: Random): number[][] {
  const groups: number[][] = Array.from({ length: random.between(2, 3) }, () => [])
  for (const { index } of hosts.all())
    (groups.find((group) => group.length === 0) ?? random.pick(groups))?.push(index)
  return groups
}
