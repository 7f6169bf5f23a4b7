import { Command } from 'commander'
import { type Context, contextOf, withCommon } from '../context.ts'
import type { NodeAnswer, ServiceAnswer, TaskAnswer } from '../docker-types.ts'
import { durationMs } from '../duration.ts'
import { type FollowedState, followUntil } from '../follow.ts'
import { updateNode } from './node-update.ts'

interface DrainOptions {
  readonly wait?: boolean
  readonly timeout: string
}
interface Explanation {
  readonly kind: string
  readonly lines: readonly string[]
}

export function drainCommand(): Command {
  return withCommon(new Command('drain'))
    .summary('move all tasks away, replacement first')
    .description(
      'Moves all tasks of a node to others, each replacement running before its task stops, and gives it no new ones until "moot node activate". With --wait: until none runs there any more, so that the host may reboot.',
    )
    .argument('<node>', 'id, name or host name')
    .option('-w, --wait', 'wait until no task is left on it')
    .option('--timeout <duration>', 'how long to wait', '10m')
    .addHelpText('after', '\nExamples:\n  moot node drain node3 --wait && ssh node3 reboot')
    .action(async (reference: string, options: DrainOptions, command: Command) => {
      const context = contextOf(command)
      const timeoutMs = durationMs(options.timeout)
      const node = await updateNode(context, reference, { Availability: 'drain' })
      if (options.wait !== true) {
        context.print(context.json ? '{}' : `${reference} is drained from now on`)
        return
      }
      const left = await waitUntilEmpty(context, node, timeoutMs)
      const reasons = await Promise.all(
        left.map(async (name) => ({ name, why: await whyLeft(context, name) })),
      )
      if (context.json) context.print(JSON.stringify({ node: node.ID, left: reasons }, null, 2))
      if (reasons.length > 0)
        throw new Error(
          [
            `${reasons.length} tasks still run on ${reference}:`,
            ...reasons.map(({ name, why }) => `  ${name}: ${why}`),
          ].join('\n'),
        )
      await tellPending(context)
      if (!context.json) context.print(`${reference} has no tasks any more`)
    })
}

/** Names of those that are still there when the time is over. */
async function waitUntilEmpty(
  context: Context,
  node: NodeAnswer,
  timeoutMs: number,
): Promise<readonly string[]> {
  const services = await context.client.json<ServiceAnswer[]>('GET', '/services')
  const nameOf = ({ ServiceID, Slot }: TaskAnswer): string => {
    const name = services.find(({ ID }) => ID === ServiceID)?.Spec.Name ?? ServiceID
    return Slot === undefined || Slot === 0 ? `${name}.${node.ID}` : `${name}.${Slot}`
  }
  const look = async (): Promise<ReadonlyMap<string, TaskAnswer>> => {
    const filters = JSON.stringify({ node: [node.ID] })
    const tasks = await context.client.json<TaskAnswer[]>('GET', '/tasks', { query: { filters } })
    return new Map(tasks.filter(hasContainer).map((task) => [nameOf(task), task]))
  }
  const stateOf = (tasks: ReadonlyMap<string, TaskAnswer>, name: string): FollowedState => {
    const task = tasks.get(name)
    if (task === undefined) return { kind: 'done', text: 'is gone' }
    const text = task.DesiredState === 'running' ? 'runs until its successor does' : 'stops'
    return { kind: 'under way', text }
  }
  const deadlineMs = performance.now() + timeoutMs
  // One that was on its way there when the drain was written is seen the next time.
  for (;;) {
    const names = [...(await look()).keys()]
    const leftMs = deadlineMs - performance.now()
    if (names.length === 0 || leftMs <= 0) return names
    await followUntil(context, { timeoutMs: Math.ceil(leftMs), names, look, stateOf })
  }
}

/** What has ended is only remembered. */
function hasContainer({ Status: { State } }: TaskAnswer): boolean {
  return ['assigned', 'accepted', 'preparing', 'ready', 'starting', 'running'].includes(State)
}

async function whyLeft(context: Context, name: string): Promise<string> {
  const { lines } = await context.client.json<Explanation>(
    'GET',
    `/moot/v1/explain/${encodeURIComponent(name)}`,
  )
  return lines.join('; ') || 'its successor does not run yet'
}

/** What had nowhere to go was stopped all the same: that is what a drain means. */
async function tellPending(context: Context): Promise<void> {
  const [tasks, services] = await Promise.all([
    context.client.json<TaskAnswer[]>('GET', '/tasks'),
    context.client.json<ServiceAnswer[]>('GET', '/services'),
  ])
  for (const { ServiceID, Slot, Status } of tasks) {
    if (Status.State !== 'pending') continue
    const name = services.find(({ ID }) => ID === ServiceID)?.Spec.Name ?? ServiceID
    context.warn(
      `${name}${Slot === undefined ? '' : `.${Slot}`} runs nowhere: ${Status.Err ?? Status.Message ?? ''}`,
    )
  }
}
