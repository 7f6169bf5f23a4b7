import { Command } from 'commander'
import { type Context, contextOf, withCommon } from '../context.ts'
import type { NodeAnswer, PortAnswer, ServiceAnswer, TaskAnswer } from '../docker-types.ts'
import { historyCommand } from './history.ts'
import { addLogsOptions, printLogs, type LogsOptions } from './logs.ts'
import { rollbackCommand } from './rollback.ts'
import { showTasks } from './service-ps.ts'

interface WriteAnswer {
  readonly Warnings?: readonly string[] | null
}

async function findService(context: Context, reference: string): Promise<ServiceAnswer> {
  return context.client.json<ServiceAnswer>('GET', `/services/${encodeURIComponent(reference)}`)
}

async function updateService(
  context: Context,
  service: ServiceAnswer,
  spec: ServiceAnswer['Spec'],
  query: Readonly<Record<string, string>> = {},
): Promise<void> {
  const answer = await context.client.json<WriteAnswer>('POST', `/services/${service.ID}/update`, {
    query: { version: String(service.Version.Index), ...query },
    body: spec,
  })
  for (const warning of answer?.Warnings ?? []) context.warn(warning)
}

function modeOf(service: ServiceAnswer): string {
  return service.Spec.Mode?.Global === undefined ? 'replicated' : 'global'
}

function portText(port: PortAnswer): string {
  return `*:${port.PublishedPort ?? '?'}->${port.TargetPort ?? '?'}/${port.Protocol ?? 'tcp'}`
}

function listCommand(): Command {
  return withCommon(new Command('ls'))
    .summary('list the services')
    .action(async (_options, command: Command) => {
      const context = contextOf(command)
      const services = await context.client.json<ServiceAnswer[]>('GET', '/services', {
        query: { status: 'true' },
      })
      context.show(services, [
        { title: 'ID', value: (service) => service.ID.slice(0, 12), optional: true },
        { title: 'NAME', value: (service) => service.Spec.Name },
        { title: 'MODE', value: modeOf },
        {
          title: 'REPLICAS',
          value: ({ ServiceStatus: status }) => `${status?.RunningTasks ?? 0}/${status?.DesiredTasks ?? 0}`,
        },
        { title: 'IMAGE', value: (service) => service.Spec.TaskTemplate?.ContainerSpec?.Image ?? '' },
        { title: 'UPDATE', value: (service) => service.UpdateStatus?.State ?? '', optional: true },
        {
          title: 'PORTS',
          value: (service) => (service.Spec.EndpointSpec?.Ports ?? []).map(portText).join(', '),
          optional: true,
        },
      ])
    })
}

function psCommand(): Command {
  return withCommon(new Command('ps'))
    .summary('tasks of one or more services')
    .argument('<service...>', 'id or name')
    .option('--no-trunc', 'whole ids and messages')
    .action(async (references: string[], options: { trunc: boolean }, command: Command) => {
      const context = contextOf(command)
      const services = await Promise.all(references.map((reference) => findService(context, reference)))
      const filters = JSON.stringify({ service: services.map((service) => service.ID) })
      const [tasks, nodes] = await Promise.all([
        context.client.json<TaskAnswer[]>('GET', '/tasks', { query: { filters } }),
        context.client.json<NodeAnswer[]>('GET', '/nodes'),
      ])
      showTasks(context, tasks, services, nodes, options.trunc)
    })
}

function scaleCommand(): Command {
  return withCommon(new Command('scale'))
    .summary('set how many replicas run')
    .argument('<service=replicas...>', 'e.g. web=5')
    .action(async (pairs: string[], _options, command: Command) => {
      const context = contextOf(command)
      const wanted = pairs.map((pair) => {
        const [name, count] = pair.split('=')
        if (name === undefined || name === '' || count === undefined || !/^\d+$/.test(count)) {
          throw new Error(`"${pair}" is not SERVICE=REPLICAS, e.g. web=5`)
        }
        return { name, replicas: Number(count) }
      })
      for (const { name, replicas } of wanted) {
        const service = await findService(context, name)
        if (service.Spec.Mode?.Global !== undefined)
          throw new Error(`${name} is global: it runs once on each node and cannot be scaled`)
        await updateService(context, service, {
          ...service.Spec,
          Mode: { Replicated: { Replicas: replicas } },
        })
        if (!context.json) context.print(`${name} scaled to ${replicas}`)
      }
      if (context.json) context.print(JSON.stringify(wanted))
    })
}

function removeCommand(): Command {
  return withCommon(new Command('rm'))
    .summary('remove services ("moot service restore" brings one back)')
    .argument('<service...>', 'id or name')
    .action(async (references: string[], _options, command: Command) => {
      const context = contextOf(command)
      for (const reference of references) {
        await context.client.json('DELETE', `/services/${encodeURIComponent(reference)}`)
        if (!context.json) context.print(`${reference} removed`)
      }
      if (context.json) context.print(JSON.stringify(references))
    })
}

function restoreCommand(): Command {
  return withCommon(new Command('restore'))
    .summary('bring a removed service back')
    .argument('<service>', 'name')
    .action(async (name: string, _options, command: Command) => {
      const context = contextOf(command)
      await context.client.json('POST', `/moot/v1/restore/service/${encodeURIComponent(name)}`)
      context.print(context.json ? '{}' : `${name} is back`)
    })
}

export function serviceCommand(): Command {
  const inspect = withCommon(new Command('inspect'))
    .summary('all that is known of a service')
    .argument('<service>', 'id or name')
    .action(async (reference: string, _options, command: Command) => {
      const context = contextOf(command)
      context.print(JSON.stringify(await findService(context, reference), null, 2))
    })
  const logs = addLogsOptions(withCommon(new Command('logs')))
    .summary('logs of all tasks of a service')
    .argument('<service>', 'id or name')
    .action(async (reference: string, options: LogsOptions, command: Command) => {
      const context = contextOf(command)
      await printLogs(
        context,
        `/services/${encodeURIComponent((await findService(context, reference)).ID)}/logs`,
        options,
      )
    })
  return withCommon(new Command('service'))
    .summary('list and manage services')
    .addHelpText(
      'after',
      '\nExamples:\n  moot service ls\n  moot service ps web\n  moot service scale web=5\n  moot service logs -f web',
    )
    .addCommand(listCommand())
    .addCommand(psCommand())
    .addCommand(inspect)
    .addCommand(scaleCommand())
    .addCommand(rollbackCommand('service'))
    .addCommand(historyCommand('service'))
    .addCommand(logs)
    .addCommand(removeCommand())
    .addCommand(restoreCommand())
}
