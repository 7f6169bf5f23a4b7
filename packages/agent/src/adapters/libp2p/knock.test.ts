import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { knock, knockAny } from './knock.ts'

const host = '127.0.0.1'
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

async function openPort(): Promise<number> {
  const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, host)
  await once(server, 'listening')
  cleanups.push(() => server.close())
  return (server.address() as AddressInfo).port
}
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/**
 * A port from which nothing comes back, on the loopback: a process that listens with a queue of one and never accepts.
 * Once the queue is full, Linux drops every further SYN, as a host that is off would.
 */
async function silentPort(): Promise<number> {
  const code = `const server = require('node:net').createServer()
    server.listen({ port: 0, host: '${host}', backlog: 1 }, () => {
      process.stdout.write(String(server.address().port))
      setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0))
    })`
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  cleanups.push(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const [said] = (await once(child.stdout, 'data')) as [Buffer]
  const port = Number(said.toString())
  // On a busy machine one that is taken may be told late: three in a row that are not say that the queue is full.
  for (let unheard = 0; unheard < 3;) {
    const socket: Socket = connect({ host, port })
    socket.on('error', () => undefined)
    cleanups.push(() => socket.destroy())
    await Promise.race([once(socket, 'connect'), setTimeout(300)])
    // The timer may come first, and the connection be there all the same.
    await setImmediate()
    unheard = socket.readyState === 'open' ? 0 : unheard + 1
  }
  return port
}

test('a host that accepts is open, one that resets has refused, one that says nothing is silent', async () => {
  const [open, closed, silent] = [await openPort(), await closedPort(), await silentPort()]
  expect(await knock(host, open, AbortSignal.timeout(5_000))).toBe('open')
  expect(await knock(host, closed, AbortSignal.timeout(5_000))).toBe('refused')
  const startMs = performance.now()
  expect(await knock(host, silent, AbortSignal.timeout(200))).toBe('silent')
  expect(performance.now() - startMs).toBeLessThan(1_500)
})

test('of several addresses the best answer counts, and an open one is not waited after', async () => {
  const [open, closed, silent] = [await openPort(), await closedPort(), await silentPort()]
  const doors = (...ports: number[]) => ports.map((port) => ({ host, port }))
  expect(await knockAny(doors(silent, closed, open), AbortSignal.timeout(60_000))).toBe('open')
  expect(await knockAny(doors(silent, closed), AbortSignal.timeout(200))).toBe('refused')
  expect(await knockAny(doors(silent), AbortSignal.timeout(200))).toBe('silent')
  expect(await knockAny([], AbortSignal.timeout(200))).toBe('silent')
})
