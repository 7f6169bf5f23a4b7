import { once } from 'node:events'
import type { Api, Call, Route } from './call.ts'
import { enginePath } from './engine/proxy.ts'
import { badRequest } from './errors.ts'
import { type DockerEvent, eventMatches } from './event-log.ts'
import { type Filters, readFilters } from './filters.ts'
import { decodeLines } from './log-frames.ts'

const eventFilters =
  'builder config container daemon event image label network node plugin scope secret service type volume'.split(
    ' ',
  )
const maxEventBytes = 1024 * 1024

/** `GET /events`: the engine's events and the cluster's, one JSON object a line, as they happen. */
async function events(api: Api, call: Call): Promise<void> {
  const filters = readFilters(call.query, eventFilters)
  const sinceMs = moment(call.query, 'since')
  const untilMs = moment(call.query, 'until')
  call.res.writeHead(200, { 'Content-Type': 'application/json' })
  call.res.flushHeaders()
  const ended = new AbortController()
  const signal = AbortSignal.any([call.signal, ended.signal])
  const lines = lineQueue(api, call)
  const tell = (event: DockerEvent): void => {
    if (eventMatches(event, filters)) lines.push(`${JSON.stringify(event)}\n`)
  }
  const unsubscribe = api.events.subscribe(tell)
  const timer =
    untilMs === undefined
      ? undefined
      : setTimeout(() => ended.abort(), Math.min(Math.max(untilMs - api.clock.wallMs(), 0), 2 ** 31 - 1))
  try {
    if (sinceMs !== undefined) {
      for (const event of api.events.since(sinceMs)) {
        if (untilMs === undefined || event.timeNano <= untilMs * 1e6) tell(event)
      }
    }
    const engine = wantsEngine(filters) ? copyEngineEvents(api, call, signal, lines.push) : undefined
    if (!signal.aborted) await once(signal, 'abort')
    await engine
  } finally {
    clearTimeout(timer)
    unsubscribe()
  }
  call.res.end()
}

function wantsEngine(filters: Filters): boolean {
  return !filters.has('scope') || filters.values('scope').includes('local')
}

/** The engine's past events come first, then the others as they happen. An engine that is down has none to tell. */
async function copyEngineEvents(
  api: Api,
  call: Call,
  signal: AbortSignal,
  push: (line: string) => void,
): Promise<void> {
  try {
    const answer = await api.engine.open(enginePath(api, call), signal)
    if (answer.statusCode !== 200) {
      answer.destroy()
      call.log.warn({ status: answer.statusCode }, 'the engine refused /events')
      return
    }
    for await (const line of decodeLines(answer as AsyncIterable<Uint8Array>, maxEventBytes)) {
      push(line.toString('utf8'))
    }
  } catch (error) {
    if (!signal.aborted) call.log.debug({ err: error }, "the engine's event stream ended")
  }
}

/** Lines waiting for the client, at most `apiEventQueueLimit`: a reader that is slower than that is cut off. */
function lineQueue(api: Api, call: Call): { readonly push: (line: string) => void } {
  const waiting: string[] = []
  let blocked = false
  const flush = (): void => {
    blocked = false
    for (;;) {
      const line = waiting.shift()
      if (line === undefined) return
      if (!call.res.write(line)) return block()
    }
  }
  const block = (): void => {
    blocked = true
    call.res.once('drain', flush)
  }
  return {
    push(line) {
      if (call.res.destroyed || call.res.writableEnded) return
      if (waiting.length >= api.settings.apiEventQueueLimit) {
        call.log.warn('a reader of /events does not keep up and was cut off')
        call.res.destroy()
        return
      }
      if (blocked) waiting.push(line)
      else if (!call.res.write(line)) block()
    },
  }
}

/** Seconds since the epoch with a fraction, as the CLI sends it, or RFC 3339. */
function moment(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name) ?? ''
  if (text === '') return undefined
  const ms = /^\d+(\.\d*)?$/.test(text) ? Number(text) * 1000 : Date.parse(text)
  if (!Number.isFinite(ms)) throw badRequest(`invalid ${name} "${text}": give a Unix time or RFC 3339`)
  return name === 'until' && ms === 0 ? undefined : ms
}

export const eventRoutes: readonly Route[] = [
  { method: 'GET', path: '/events', handler: events, streams: true, anywhere: true },
]
