import { Command } from 'commander'
import { contextOf, withCommon } from '../context.ts'

export interface TokenAnswer {
  readonly token: string
  readonly expiresAtMs: number
}

export function initCommand(): Command {
  return withCommon(new Command('init'))
    .summary('begin a cluster on this node')
    .description('Begins a cluster on this node and prints a one-time token with which a second node joins.')
    .option('--advertise <address>', 'address at which other nodes reach this one')
    .addHelpText('after', '\nExamples:\n  moot init\n  moot init --advertise 192.168.1.10')
    .action(async (options: { advertise?: string }, command: Command) => {
      const context = contextOf(command)
      const answer = await context.client.json<TokenAnswer>('POST', '/moot/v1/init', {
        body: options.advertise === undefined ? {} : { advertise: options.advertise },
      })
      if (context.json) return context.print(JSON.stringify(answer, null, 2))
      context.print(
        `This node is a cluster of one now. To add another, run there:\n\n    moot join ${answer.token}\n\n` +
          `The token works once, until ${new Date(answer.expiresAtMs).toLocaleString()}; "moot token" makes another.`,
      )
    })
}
