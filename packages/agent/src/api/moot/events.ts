import type { Route } from '../call.ts'
import { once } from 'node:events'

/**
 * `GET /moot/v1/events`: what Docker's stream has no word for (tasks, warnings) too, one JSON object a line. A reader
 * that does not keep up is cut off.
 */
export const mootEventsRoute: Route = {
  method: 'GET',
  path: '/moot/v1/events',
  streams: true,
  anywhere: true,
  handler: async (api, call) => {
    call.res.writeHead(200, { 'Content-Type': 'application/x-ndjson' })
    call.res.flushHeaders()
    const unsubscribe = api.cluster.subscribe((event) => {
      const line =
        event.kind === 'spec'
          ? {
              kind: event.kind,
              atMs: event.atMs,
              resource: event.change.kind,
              id: event.change.id,
              name: (event.change.after ?? event.change.before)?.name,
              action:
                event.change.before === undefined
                  ? 'create'
                  : event.change.after === undefined
                    ? 'remove'
                    : 'update',
              origin: event.change.origin,
              droppedEdit: event.change.droppedEdit,
            }
          : event
      if (call.res.writableLength > api.settings.maxBodyBytes) call.res.destroy()
      else if (!call.res.writableEnded) call.res.write(`${JSON.stringify(line)}\n`)
    })
    try {
      if (!call.signal.aborted) await once(call.signal, 'abort')
    } finally {
      unsubscribe()
    }
    call.res.end()
  },
}
