import { Command } from 'commander'
import { contextOf, withCommon } from '../context.ts'

export function leaveCommand(): Command {
  return withCommon(new Command('leave'))
    .summary('take this node out of its cluster')
    .description("Stops this node's tasks (the others take them over), and forgets the cluster.")
    .option(
      '-f, --force',
      'also when this is the last node, whose specs are lost with it, or when its containers cannot be stopped',
    )
    .action(async (options: { force?: boolean }, command: Command) => {
      const context = contextOf(command)
      await context.client.json('POST', '/moot/v1/leave', {
        query: { force: options.force === true ? '1' : undefined },
      })
      context.print(context.json ? '{}' : 'This node left the cluster.')
    })
}
