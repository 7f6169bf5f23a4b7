import { Command } from 'commander'
import { type Context, contextOf, withCommon } from '../context.ts'
import type { ServiceAnswer } from '../docker-types.ts'
import { readFrames } from '../frames.ts'

export interface LogsOptions {
  readonly follow?: boolean
  readonly tail?: string
  readonly since?: string
  readonly timestamps?: boolean
}

export function addLogsOptions(command: Command): Command {
  return command
    .option('-f, --follow', 'go on as new lines come, from tasks that start later too')
    .option('-n, --tail <lines>', 'how many lines from the end of each task', 'all')
    .option('--since <time>', 'timestamp, or relative like 10m')
    .option('-t, --timestamps', 'with timestamps')
}

/** Docker prefixes each line with `com.docker.swarm.*` details; people want `service.slot@node | line`. */
function prefixOf(details: string, taskNames: ReadonlyMap<string, string>): string {
  const values = new Map(details.split(',').map((pair) => pair.split('=', 2) as [string, string]))
  const task = values.get('com.docker.swarm.task.id') ?? ''
  return taskNames.get(task) ?? task.slice(0, 12)
}

export async function printLogs(context: Context, path: string, options: LogsOptions): Promise<void> {
  const query = {
    stdout: '1',
    stderr: '1',
    details: '1',
    follow: options.follow === true ? '1' : undefined,
    tail: options.tail,
    since: options.since,
    timestamps: options.timestamps === true ? '1' : undefined,
  }
  const stream = await context.client.stream(path, { query })
  const names = new Map<string, string>()
  for await (const { channel, text } of readFrames(stream)) {
    const match = /^((?:\S+Z )?)(com\.docker\.swarm\.\S+) ?(.*)$/s.exec(text)
    const [, time = '', details = '', line = text] = match ?? []
    const name = details === '' ? '' : await nameOf(context, details, names)
    if (context.json)
      context.print(
        JSON.stringify({ channel, task: name, time: time.trim() || undefined, line: line.trimEnd() }),
      )
    else
      (channel === 'stderr' ? process.stderr : process.stdout).write(
        `${name === '' ? '' : `${name} | `}${time}${line}`,
      )
  }
}

/** A task's name, looked up once: `web.2@node3`. */
async function nameOf(context: Context, details: string, names: Map<string, string>): Promise<string> {
  const id = /com\.docker\.swarm\.task\.id=([^,\s]+)/.exec(details)?.[1] ?? ''
  if (id !== '' && !names.has(id)) {
    try {
      const task = await context.client.json<{ ServiceID: string; Slot?: number; NodeID: string }>(
        'GET',
        `/tasks/${id}`,
      )
      const [service, node] = await Promise.all([
        context.client.json<ServiceAnswer>('GET', `/services/${task.ServiceID}`),
        context.client.json<{ Spec: { Name?: string }; Description?: { Hostname?: string } }>(
          'GET',
          `/nodes/${task.NodeID}`,
        ),
      ])
      names.set(
        id,
        `${service.Spec.Name}.${task.Slot ?? id.slice(0, 6)}@${node.Spec.Name ?? node.Description?.Hostname ?? task.NodeID}`,
      )
    } catch {
      // The task ended and is no longer listed: its id is name enough.
      names.set(id, id.slice(0, 12))
    }
  }
  return prefixOf(details, names)
}

export function logsCommand(): Command {
  return addLogsOptions(withCommon(new Command('logs')))
    .summary('logs of a service or a task')
    .argument('<service|task>', 'id or name')
    .addHelpText('after', '\nExamples:\n  moot logs -f web\n  moot logs --tail 20 web')
    .action(async (reference: string, options: LogsOptions, command: Command) => {
      const context = contextOf(command)
      const encoded = encodeURIComponent(reference)
      const kind = await context.client.json('GET', `/services/${encoded}`).then(
        () => 'services',
        () => 'tasks',
      )
      await printLogs(context, `/${kind}/${encoded}/logs`, options)
    })
}
