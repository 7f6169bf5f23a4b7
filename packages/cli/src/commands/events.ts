import { Command } from 'commander'
import { contextOf, withCommon } from '../context.ts'

interface DockerEvent {
  readonly Type: string
  readonly Action: string
  readonly Actor: { readonly ID: string; readonly Attributes?: Readonly<Record<string, string>> }
  readonly time: number
  readonly timeNano?: number
}

export function eventsCommand(): Command {
  return withCommon(new Command('events'))
    .summary('what happens in the cluster and on this engine, as it happens')
    .option('--since <time>', 'from this time on')
    .option('--until <time>', 'up to this time')
    .option('--filter <key=value...>', 'e.g. type=service')
    .action(async (options: { since?: string; until?: string; filter?: string[] }, command: Command) => {
      const context = contextOf(command)
      const filters: Record<string, string[]> = {}
      for (const pair of options.filter ?? []) {
        const at = pair.indexOf('=')
        if (at < 1) throw new Error(`"${pair}" is not KEY=VALUE, e.g. type=service`)
        ;(filters[pair.slice(0, at)] ??= []).push(pair.slice(at + 1))
      }
      const stream = await context.client.stream('/events', {
        query: { since: options.since, until: options.until, filters: JSON.stringify(filters) },
      })
      for await (const line of lines(stream)) {
        if (context.json) context.print(line)
        else context.print(eventText(JSON.parse(line) as DockerEvent))
      }
    })
}

function eventText(event: DockerEvent): string {
  const attributes = Object.entries(event.Actor.Attributes ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(', ')
  // Seconds alone would give a whole failover one time.
  const time = new Date(event.timeNano === undefined ? event.time * 1000 : event.timeNano / 1e6).toISOString()
  return `${time} ${event.Type} ${event.Action} ${event.Actor.ID}${attributes === '' ? '' : ` (${attributes})`}`
}

async function* lines(source: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of source) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = parts.pop() ?? ''
    for (const part of parts) if (part.trim() !== '') yield part
  }
  if (rest.trim() !== '') yield rest
}
