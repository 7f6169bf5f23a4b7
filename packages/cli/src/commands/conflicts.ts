import { Command } from 'commander'
import { contextOf, withCommon } from '../context.ts'

interface ConflictRow {
  readonly kind: string
  readonly name: string
  readonly path: string
  readonly winner: unknown
  readonly losers: readonly { readonly value: unknown; readonly author?: { readonly node: string } }[]
}

export function conflictsCommand(): Command {
  return withCommon(new Command('conflicts'))
    .summary('fields that two people changed at once')
    .description(
      'Fields to which different values were written at once. One won on every node; writing the field again settles it.',
    )
    .action(async (_options, command: Command) => {
      const context = contextOf(command)
      const rows = await context.client.json<ConflictRow[]>('GET', '/moot/v1/conflicts')
      if (rows.length === 0 && !context.json) return context.print('No conflicts.')
      context.show(rows, [
        { title: 'KIND', value: (row) => row.kind },
        { title: 'NAME', value: (row) => row.name },
        { title: 'FIELD', value: (row) => row.path },
        { title: 'IN FORCE', value: (row) => JSON.stringify(row.winner) },
        {
          title: 'NOT IN FORCE',
          value: (row) => row.losers.map((loser) => JSON.stringify(loser.value)).join(' '),
        },
      ])
    })
}
