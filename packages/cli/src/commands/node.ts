import { Command } from 'commander'
import { contextOf, withCommon } from '../context.ts'
import type { NodeAnswer, ServiceAnswer, TaskAnswer } from '../docker-types.ts'
import { drainCommand } from './node-drain.ts'
import { findNode, updateNode } from './node-update.ts'
import type { VotersAnswer } from './voters.ts'
import { showTasks } from './service-ps.ts'

function availabilityCommand(name: string, availability: string, summary: string): Command {
  return withCommon(new Command(name))
    .summary(summary)
    .argument('<node>', 'id, name or host name')
    .action(async (reference: string, _options, command: Command) => {
      const context = contextOf(command)
      await updateNode(context, reference, { Availability: availability })
      context.print(context.json ? '{}' : `${reference} is ${availability} now`)
    })
}

export function nodeCommand(): Command {
  const list = withCommon(new Command('ls'))
    .summary('list the nodes')
    .action(async (_options, command: Command) => {
      const context = contextOf(command)
      const [found, voters] = await Promise.all([
        context.client.json<NodeAnswer[]>('GET', '/nodes'),
        context.client.json<VotersAnswer>('GET', '/moot/v1/voters'),
      ])
      const votes = new Set(voters.voters.map(({ id }) => id))
      const nodes = found.map((node) => ({ ...node, Votes: votes.has(node.ID) }))
      context.show(nodes, [
        { title: 'ID', value: (node) => node.ID, optional: true },
        { title: 'HOSTNAME', value: (node) => node.Spec.Name ?? node.Description?.Hostname ?? '' },
        { title: 'STATUS', value: (node) => node.Status.State },
        { title: 'AVAILABILITY', value: (node) => node.Spec.Availability },
        { title: 'VOTES', value: (node) => (node.Votes ? 'yes' : ''), optional: true },
        { title: 'ADDRESS', value: (node) => node.Status.Addr ?? '' },
        { title: 'ENGINE', value: (node) => node.Description?.Engine?.EngineVersion ?? '', optional: true },
        { title: 'MESSAGE', value: (node) => node.Status.Message ?? '', optional: true },
      ])
    })
  const inspect = withCommon(new Command('inspect'))
    .summary('all that is known of a node')
    .argument('<node>', 'id, name or host name')
    .action(async (reference: string, _options, command: Command) => {
      const context = contextOf(command)
      context.print(JSON.stringify(await findNode(context, reference), null, 2))
    })
  const tasks = withCommon(new Command('ps'))
    .summary('tasks on a node')
    .argument('[node]', 'id, name or host name', 'self')
    .option('--no-trunc', 'whole ids and messages')
    .action(async (reference: string, options: { trunc: boolean }, command: Command) => {
      const context = contextOf(command)
      const node = await findNode(context, reference)
      const [found, services] = await Promise.all([
        context.client.json<TaskAnswer[]>('GET', '/tasks', {
          query: { filters: JSON.stringify({ node: [node.ID] }) },
        }),
        context.client.json<ServiceAnswer[]>('GET', '/services'),
      ])
      showTasks(context, found, services, [node], options.trunc)
    })
  const remove = withCommon(new Command('rm'))
    .summary('remove a node from the cluster')
    .argument('<node>', 'id, name or host name')
    .option('-f, --force', 'also while it is alive: it is told, stops its tasks and goes inactive')
    .action(async (reference: string, options: { force?: boolean }, command: Command) => {
      const context = contextOf(command)
      await context.client.json('DELETE', `/nodes/${encodeURIComponent(reference)}`, {
        query: { force: options.force === true ? '1' : undefined },
      })
      context.print(context.json ? '{}' : `${reference} is no member any more`)
    })
  return withCommon(new Command('node'))
    .summary('list and manage nodes')
    .addHelpText(
      'after',
      '\nExamples:\n  moot node ls\n  moot node drain node3 --wait\n  moot node activate node3',
    )
    .addCommand(list)
    .addCommand(inspect)
    .addCommand(tasks)
    .addCommand(drainCommand())
    .addCommand(availabilityCommand('pause', 'pause', 'keep its tasks, give it no new ones'))
    .addCommand(availabilityCommand('activate', 'active', 'give it tasks again'))
    .addCommand(remove)
}
