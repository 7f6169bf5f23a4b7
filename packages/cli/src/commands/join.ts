import { Command } from 'commander'
import { contextOf, withCommon } from '../context.ts'

export function joinCommand(): Command {
  return withCommon(new Command('join'))
    .summary('join this node to a cluster')
    .description('Joins this node to the cluster of the node that made the token.')
    .argument('<token>', 'what "moot init" or "moot token" printed')
    .option('--advertise <address>', 'address at which other nodes reach this one')
    .addHelpText('after', '\nExample:\n  moot join MOOT-1-…')
    .action(async (token: string, options: { advertise?: string }, command: Command) => {
      const context = contextOf(command)
      const body = { token, ...(options.advertise === undefined ? {} : { advertise: options.advertise }) }
      const answer = await context.client.json<unknown>('POST', '/moot/v1/join', { body })
      context.print(
        context.json
          ? JSON.stringify(answer ?? {}, null, 2)
          : 'This node joined. "moot node ls" shows all of them.',
      )
    })
}
