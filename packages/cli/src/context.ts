import type { Command } from 'commander'
import { type Client, createClient, defaultHost } from './client.ts'
import { type Column, formatTable } from './table.ts'

/** What every command gets: the agent that `-H` or `MOOT_HOST` names, and how to print. */
export interface Context {
  readonly client: Client
  readonly json: boolean
  print(text: string): void
  /** Rows as a table, or with `--json` the raw values. */
  show<Row>(rows: readonly Row[], columns: readonly Column<Row>[], raw?: unknown): void
  warn(text: string): void
}

/** The options that every command takes. */
export function withCommon(command: Command): Command {
  return command
    .option('-H, --host <address>', 'agent to speak to (MOOT_HOST)')
    .option('--json', 'print JSON')
    .showHelpAfterError('(add --help for usage and examples)')
}

export function contextOf(command: Command): Context {
  const options = command.optsWithGlobals<{ host?: string; json?: boolean }>()
  const warn = (text: string): void => {
    process.stderr.write(`warning: ${text}\n`)
  }
  const client = createClient(options.host ?? process.env['MOOT_HOST'] ?? defaultHost, warn)
  const json = options.json === true
  const print = (text: string): void => {
    process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
  }
  return {
    client,
    json,
    print,
    show(rows, columns, raw) {
      print(json ? JSON.stringify(raw ?? rows, null, 2) : formatTable(rows, columns))
    },
    warn,
  }
}
