import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Bed } from './hosts.ts'
import { describe, table } from './status.ts'

const usage = `Real hosts on this machine, each with its own Docker engine and agent (Linux, root).

  scripts/hosts up N [--no-agent] [--gossip-off]   N hosts, connected, with test images, as one cluster
  scripts/hosts down                 remove them and every trace of them
  scripts/hosts status [--json]
  scripts/hosts kill I               power off: the link first, then everything at once
  scripts/hosts start I [--no-agent] power on, with the data it had
  scripts/hosts cut I                pull its network cable
  scripts/hosts heal [I]             plug it in again (without I: all, and end any partition)
  scripts/hosts partition 1,2 3,4,5  groups that do not see each other
  scripts/hosts agent-kill I         SIGKILL to the agent alone       agent-start I
  scripts/hosts agent-stop I         SIGSTOP: a hung agent            agent-cont I
  scripts/hosts engine-kill I        SIGKILL to dockerd alone         engine-start I
  scripts/hosts load IMAGE.tar       into every engine that is on

Host I is at 10.99.0.I; docker -H unix://$PWD/.hosts/I/moot.sock node ls   (its bare engine: docker.sock there)
Logs, pids and data: .hosts/I/. Several beds beside each other: MOOT_BED=name (then .hosts/name/I).
The agent runs from packages/agent/src/main.ts, or from the file in MOOT_AGENT.`

class Misused extends Error {}

function indexOf(argument: string | undefined): number {
  if (argument === undefined || !/^[0-9]+$/.test(argument)) throw new Misused('Which host? Give its number.')
  return Number(argument)
}

function groupsOf(argumentsGiven: readonly string[]): number[][] {
  if (argumentsGiven.length < 2) throw new Misused('Give two groups or more, such as: partition 1,2 3,4,5')
  return argumentsGiven.map((group) => group.split(',').map((index) => indexOf(index)))
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'no-agent': { type: 'boolean', default: false },
      'gossip-off': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const [command = 'help', ...rest] = positionals
  const startMs = performance.now()
  const say = (line: string): void => {
    console.log(`${((performance.now() - startMs) / 1000).toFixed(1).padStart(5)} s  ${line}`)
  }
  const bed = new Bed(process.env['MOOT_BED'], say)
  const first = rest[0]
  const withoutAgent = values['no-agent']
  const commands: Readonly<Record<string, () => Promise<void> | void>> = {
    help: () => console.log(usage),
    up: async () => {
      const count = indexOf(first)
      const main = process.env['MOOT_AGENT']
      const env = values['gossip-off'] ? { MOOT_GOSSIP: 'off' } : {}
      const agent = { env, ...(main === undefined ? {} : { main }) }
      await bed.up(count, { withoutAgent, agent })
      say(`${count} ${count === 1 ? 'host is' : 'hosts are'} up`)
    },
    down: async () => {
      await bed.down()
      say('all hosts are gone')
    },
    status: async () => {
      const lines = await Promise.all(bed.hosts().map((host) => describe(bed, host)))
      console.log(values.json ? JSON.stringify(lines, undefined, 2) : table(lines))
    },
    kill: () => bed.kill(indexOf(first)),
    start: () => bed.start(indexOf(first), { withoutAgent }),
    cut: () => bed.cut(indexOf(first)),
    heal: () => bed.heal(first === undefined ? undefined : indexOf(first)),
    partition: () => bed.partition(groupsOf(rest)),
    'agent-kill': () => bed.existing(indexOf(first)).agentKill(),
    'agent-start': () => bed.existing(indexOf(first)).agentStart(),
    'agent-stop': () => bed.existing(indexOf(first)).agentStop(),
    'agent-cont': () => bed.existing(indexOf(first)).agentContinue(),
    'engine-kill': () => bed.existing(indexOf(first)).engineKill(),
    'engine-start': () => bed.existing(indexOf(first)).engineStart(),
    load: async () => {
      if (first === undefined) throw new Misused('Which archive? Give a file that `docker save` wrote.')
      await bed.load(resolve(first))
    },
  }
  const chosen = values.help ? commands['help'] : commands[command]
  if (chosen === undefined) throw new Misused(`There is no command ${command}.`)
  await chosen()
}

try {
  await main()
} catch (error) {
  const misused =
    error instanceof Misused || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true
  console.error(error instanceof Error ? error.message : error)
  if (misused) console.error(`\n${usage}`)
  process.exitCode = misused ? 2 : 1
}
