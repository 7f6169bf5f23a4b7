import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

const againMs = 10

/**
 * One name server for each port of a host: with ports that can be shared, two would answer half of the questions each, by different tables. The
 * claim is an abstract unix socket, which belongs to the same network namespace as the port and goes with its process.
 * @param withinMs for one that is just letting go of it.
 */
export async function claimPort(port: number, withinMs: number): Promise<() => void> {
  const atMs = performance.now() + withinMs
  for (;;) {
    try {
      return await claim(port)
    } catch (error) {
      if (performance.now() >= atMs)
        throw new Error(`another name server of Moot has port ${port} (nameServerPort)`, { cause: error })
      await delay(againMs)
    }
  }
}

function claim(port: number): Promise<() => void> {
  const server = createServer((socket) => socket.destroy())
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(`\0moot-name-server/${port}`, () => {
      server.unref()
      resolve(() => server.close())
    })
  })
}
