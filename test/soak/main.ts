/**
 * `make soak`: what must hold every time, tried many times on five real hosts, and a table of it at the end.
 *     node test/soak/main.ts [failovers] [cable] [busy] [engines] [partitions] [agent-kills] [bad-updates] [updates] [exclusive] [guestbook] [edge] [rapid] [simulator]
 * SEED=… repeats the random choices (not the timing), ROUNDS=… and SEEDS=… say how often.
 */
import type { Hosts } from '../e2e/hosts.ts'
import { randomFrom } from '../sim/random.ts'
import { agentKills } from './agent-kills.ts'
import { busy } from './busy.ts'
import { cable } from './cable.ts'
import { edge } from './edge.ts'
import { engines } from './engines.ts'
import { exclusive } from './exclusive.ts'
import { failovers } from './failovers.ts'
import { partitions } from './partitions.ts'
import { guestbook } from './guestbook.ts'
import { isWell, type Row, table } from './row.ts'
import { rapid } from './rapid.ts'
import { freshHosts } from './turns.ts'
import { simulator } from './simulator.ts'
import { badUpdatesOf, interruptedUpdates } from './updates.ts'

const number = (name: string, otherwise: number): number => Number(process.env[name] || otherwise)
const seed = number('SEED', Date.now() % 1_000_000)
const rounds = number('ROUNDS', 0)
const random = randomFrom(seed)
const say = (line: string): void => console.log(line)

const parts: Readonly<Record<string, (hosts: Hosts) => Promise<Row | readonly Row[]>>> = {
  failovers: () => failovers(rounds || 4, say),
  cable: (hosts) => cable(hosts, rounds || 2, random, say),
  busy: (hosts) => busy(hosts, rounds || 1, say),
  engines: (hosts) => engines(hosts, rounds || 2, random, say),
  partitions: (hosts) => partitions(hosts, rounds || 10, random, say),
  'agent-kills': (hosts) => agentKills(hosts, rounds || 10, random, say),
  'bad-updates': (hosts) => badUpdatesOf(hosts, rounds || 2, say),
  updates: (hosts) => interruptedUpdates(hosts, rounds || 50, random, say),
  exclusive: (hosts) => exclusive(hosts, rounds || 20, random, say),
  guestbook: (hosts) => guestbook(hosts, rounds || 10, say),
  edge: () => Promise.resolve(edge()),
  rapid: () => Promise.resolve(rapid(seed, say)),
  simulator: () => simulator(number('SEEDS', 500), say),
}

const asked = process.argv.slice(2)
const unknown = asked.filter((name) => parts[name] === undefined)
if (unknown.length > 0)
  throw new Error(`no such part: ${unknown.join(', ')}; there are ${Object.keys(parts).join(', ')}`)
say(`SEED=${seed}`)
const rows: Row[] = []
for (const [name, part] of Object.entries(parts)) {
  if (asked.length > 0 && !asked.includes(name)) continue
  try {
    rows.push(...[await part(await freshHosts())].flat())
  } catch (error) {
    console.error(error)
    const wrong = [(error instanceof Error ? error.message : String(error)).split('\n', 1).join('')]
    rows.push({ what: name, times: 0, tookMs: [], wrong })
  }
}
console.log(`\n${table(rows)}`)
process.exitCode = rows.every(isWell) ? 0 : 1
