import { Command } from 'commander'
import { contextOf, withCommon } from '../context.ts'
import type { TokenAnswer } from './init.ts'
import { durationMs } from '../duration.ts'
import { ago } from '../table.ts'

interface TokenRow {
  readonly id: string
  readonly expiresAtMs: number
  readonly usedBy?: string
}

export function tokenCommand(): Command {
  const create = withCommon(new Command('create'))
    .summary('make a one-time join token (the default)')
    .option('--ttl <duration>', 'how long it may be used, e.g. 15m, 2h', '1h')
    .action(async (options: { ttl: string }, command: Command) => {
      const context = contextOf(command)
      const answer = await context.client.json<TokenAnswer>('POST', '/moot/v1/tokens', {
        body: { ttlMs: durationMs(options.ttl) },
      })
      context.print(context.json ? JSON.stringify(answer, null, 2) : answer.token)
    })
  const list = withCommon(new Command('ls'))
    .summary("list this node's tokens")
    .action(async (_options, command: Command) => {
      const context = contextOf(command)
      const rows = await context.client.json<TokenRow[]>('GET', '/moot/v1/tokens')
      context.show(rows, [
        { title: 'TOKEN', value: (row) => row.id },
        {
          title: 'EXPIRES',
          value: (row) =>
            row.expiresAtMs < Date.now()
              ? `expired ${ago(row.expiresAtMs)}`
              : new Date(row.expiresAtMs).toLocaleString(),
        },
        { title: 'USED BY', value: (row) => row.usedBy ?? '' },
      ])
    })
  return withCommon(new Command('token'))
    .summary('make and list join tokens')
    .description(
      "A token is redeemed once, at the node that made it, before it expires on that node's clock.",
    )
    .addHelpText('after', '\nExamples:\n  moot token\n  moot token create --ttl 15m\n  moot token ls')
    .addCommand(create, { isDefault: true })
    .addCommand(list)
}
