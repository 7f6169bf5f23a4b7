import { Command } from 'commander'
import { contextOf, withCommon } from '../context.ts'
import { ago } from '../table.ts'

interface ChangeRow {
  readonly number?: number
  readonly author?: { readonly node: string; readonly client: string; readonly atMs: number }
  readonly nodeName?: string
  readonly action: string
  readonly release?: string
  readonly what: readonly string[]
}

/** @param only `moot service history` means a service, whatever stack has its name. */
export function historyCommand(only?: 'service'): Command {
  const command = withCommon(new Command('history'))
    .summary('who changed what and when')
    .description(
      'Newest first. A number (N) is what "rollback --to" takes: of a service each change has one, of a stack each release. Updates that were completed or went back stand between them.',
    )
    .argument(only === undefined ? '<stack|service>' : '<service>', 'id or name')
    .option('--no-trunc', 'times in full')
  if (only === undefined)
    command.addHelpText(
      'after',
      '\nExamples:\n  moot history shop\n  moot history shop_web\n  moot history service/shop    where a stack has that name too\n  moot history --json shop_web',
    )
  return command.action(async (reference: string, options: { trunc: boolean }, self: Command) => {
    const context = contextOf(self)
    const subject = only === undefined ? reference : `service/${reference}`
    const rows = await context.client.json<ChangeRow[]>(
      'GET',
      `/moot/v1/changes/${encodeURIComponent(subject)}`,
    )
    context.show(rows, [
      { title: 'N', value: (row) => String(row.number ?? '') },
      { title: 'WHEN', value: (row) => when(row, options.trunc) },
      { title: 'WHO', value: who },
      {
        title: 'CHANGED',
        value: (row) => `${row.action === 'rollback' ? 'rollback: ' : ''}${row.what.join('; ')}`,
      },
      { title: 'RELEASE', value: (row) => row.release ?? '', optional: true },
    ])
  })
}

function when({ author }: ChangeRow, truncate: boolean): string {
  if (author === undefined) return ''
  return truncate ? ago(author.atMs) : new Date(author.atMs).toISOString()
}

/** `alice@host-1`, where the client said who it was; else the client's name. */
export function who({ author, nodeName }: ChangeRow): string {
  if (author === undefined) return ''
  const user = /^moot-cli \((.+)\)$/.exec(author.client)?.[1]
  const client = user ?? author.client.split(' ', 1)[0] ?? ''
  return `${client}@${nodeName ?? author.node.slice(0, 12)}`
}
