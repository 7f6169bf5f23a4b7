import { Command } from 'commander'
import { type Context, contextOf, withCommon } from '../context.ts'
import { durationMs } from '../duration.ts'
import { followUntil } from '../follow.ts'

interface Where {
  readonly id: string
  readonly name: string
}
interface Move {
  readonly task: string
  readonly service: string
  readonly slot: number
  readonly attempt: number
  readonly from: Where
  readonly to: Where
  readonly why: string
}
interface Standing extends Omit<Move, 'to' | 'why'> {
  readonly to?: Where
  readonly state: 'waiting' | 'moving' | 'stays'
}
interface Answer {
  readonly dryRun: boolean
  readonly moves: readonly Move[]
  readonly underWay: readonly Standing[]
  readonly left: readonly { readonly name: string; readonly why: string }[]
  readonly warnings: readonly string[]
}
interface Options {
  readonly dryRun?: boolean
  readonly detach?: boolean
  readonly timeout: string
}
type Followed = Pick<Move, 'task' | 'service' | 'slot' | 'attempt'>

export function rebalanceCommand(): Command {
  return withCommon(new Command('rebalance'))
    .summary('even out where tasks run, with the fewest moves')
    .description(
      'Moves tasks from nodes that have many of a service to nodes that have few (after a node has joined or come back), as many at a time as an update of the service would replace. Each new task runs, and is ready, before the old one stops.',
    )
    .argument('[stack|service]', 'only this one')
    .option('--dry-run', 'only show what would move')
    .option('-d, --detach', 'do not wait until all has moved')
    .option('--timeout <duration>', 'how long to wait', '30m')
    .addHelpText(
      'after',
      '\nExamples:\n  moot rebalance --dry-run\n  moot rebalance shop\n\nThe label moot.rebalance=auto lets a service do so by itself.',
    )
    .action(async (subject: string | undefined, options: Options, self: Command) => {
      const context = contextOf(self)
      const timeoutMs = durationMs(options.timeout)
      const dryRun = options.dryRun === true
      const answer = await context.client.json<Answer>('POST', '/moot/v1/rebalance', {
        body: { ...(subject !== undefined && { subject }), dryRun },
      })
      for (const warning of answer.warnings) context.warn(warning)
      if (!context.json) show(context, answer)
      const followed = dryRun || options.detach === true ? [] : [...answer.underWay, ...answer.moves]
      const standings = followed.length === 0 ? [] : await follow(context, followed, timeoutMs)
      if (context.json) context.print(JSON.stringify({ ...answer, standings }, null, 2))
      judge(standings)
      if (!context.json && followed.length > 0) context.print(`${followed.length} tasks moved`)
    })
}

function show(context: Context, { moves, underWay, left }: Answer): void {
  for (const { name, why } of left) context.print(`${name} stays as it is: ${why}`)
  if (underWay.length > 0)
    context.print(
      `asked for before, and still to come: ${underWay.map(({ task, from }) => `${task} from ${from.name}`).join(', ')}`,
    )
  if (moves.length === 0) {
    if (underWay.length === 0) context.print('nothing to move: it is as even as it can be')
    return
  }
  context.show(moves, [
    { title: 'TASK', value: ({ task }) => task },
    { title: 'FROM', value: ({ from }) => from.name },
    { title: 'TO', value: ({ to }) => to.name },
    { title: 'WHY', value: ({ why }) => why },
  ])
}

/** Until none is still to come; those that are not there any more have moved. Those that stay, or are still to come, are returned. */
async function follow(
  context: Context,
  followed: readonly Followed[],
  timeoutMs: number,
): Promise<readonly Standing[]> {
  const keyOf = ({ service, slot, attempt }: Followed): string => `${service}.${slot}@${attempt}`
  const keys = new Set(followed.map(keyOf))
  return followUntil(context, {
    timeoutMs,
    names: followed.map(({ task }) => task),
    look: async () => {
      const all = await context.client.json<Standing[]>('GET', '/moot/v1/rebalance')
      return all.filter((standing) => keys.has(keyOf(standing)))
    },
    stateOf: (standings, name) => {
      const standing = standings.find(({ task }) => task === name)
      if (standing === undefined) return { kind: 'done', text: 'moved' }
      if (standing.state === 'stays')
        return { kind: 'failed', text: `stays on ${standing.from.name}: no other node took it` }
      const to = standing.to === undefined ? '' : ` to ${standing.to.name}`
      return { kind: 'under way', text: `${standing.state}${to}` }
    },
  })
}

function judge(standings: readonly Standing[]): void {
  if (standings.length === 0) return
  const lines = standings.map(({ task, from, state }) =>
    state === 'stays'
      ? `  ${task} stays on ${from.name}: no other node took it ("moot explain ${task}" says why)`
      : `  ${task} is still on ${from.name}; it moves on by itself, "moot rebalance" shows how far it is`,
  )
  throw new Error(['not all has moved:', ...lines].join('\n'))
}
