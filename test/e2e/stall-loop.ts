import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'

/**
 * Runs inside a host: `node stall-loop.ts MS` keeps the main loop of the process whose inspector is open at its usual port
 * busy for so long, and prints for how long it was.
 */
const inspector = 'http://127.0.0.1:9229/json/list'
/** SIGUSR1 is answered by a thread of its own. */
const openWithinMs = 10_000

async function inspectorUrl(): Promise<string> {
  const begunAt = performance.now()
  for (;;) {
    try {
      const [target] = (await (await fetch(inspector)).json()) as { webSocketDebuggerUrl: string }[]
      if (target !== undefined) return target.webSocketDebuggerUrl
    } catch (error) {
      if (performance.now() - begunAt > openWithinMs) throw error
    }
    await delay(20)
  }
}

const forMs = Number(process.argv[2])
// It closes again once this program is gone; closing waits for whoever is connected.
const expression = `(() => {
  const begunAt = performance.now()
  while (performance.now() - begunAt < ${forMs});
  setTimeout(() => process.getBuiltinModule('node:inspector').close(), 500)
  return performance.now() - begunAt
})()`
const socket = new WebSocket(await inspectorUrl())
await once(socket, 'open')
socket.send(
  JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression, returnByValue: true } }),
)
const [message] = (await once(socket, 'message')) as [{ readonly data: string }]
socket.close()
const { result } = JSON.parse(message.data) as { result: { result: { value: number } } }
console.log(Math.round(result.result.value))
