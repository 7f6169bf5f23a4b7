import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { TaskId } from '@moot/crdt-state'
import { processForwarder } from '../../packages/agent/src/adapters/forwarder/client.ts'
import { forwarderProgram } from '../../packages/agent/src/adapters/forwarder/program.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { memoryForwarder } from '../../packages/agent/src/ports/forwarder.memory.ts'
import type { Forwarder } from '../../packages/agent/src/ports/forwarder.ts'
import { echo, type ForwarderBed, type Talk, target } from './forwarder.suite.ts'
import { processesBelow } from './processes.ts'

export function memoryBed(): Promise<ForwarderBed> {
  const forwarder = memoryForwarder()
  const port = 8_080
  return Promise.resolve({
    port,
    forwarder: () => forwarder,
    restart: () => forwarder.close(),
    container(name: string) {
      const address = addressOf(name)
      forwarder.answer(address, target, (stream) => void echo(name, stream))
      return Promise.resolve({ kind: 'local' as const, task: name as TaskId, address })
    },
    async open() {
      const stream = await forwarder.dial('tcp', port).catch(() => undefined)
      return (
        stream && {
          // Whoever dials is led at once.
          begun: () => Promise.resolve(),
          say: (text: string) => stream.write(Buffer.from(text)),
          async end() {
            await stream.closeWrite()
            let heard = ''
            for await (const chunk of stream.source) heard += Buffer.from(chunk).toString()
            return heard
          },
        }
      )
    },
    close: () => forwarder.close(),
  })
}

/** `web3` is at 127.88.0.3. */
export function addressOf(name: string): string {
  return `127.88.0.${/\d+$/.exec(name)?.[0] ?? '1'}`
}

export interface ProcessBed extends ForwarderBed {
  readonly directory: string
  readonly log: readonly string[]
  /** Of the next agent. */
  setProgram(version: string): void
  pids(): readonly number[]
}

export async function processBed(): Promise<ProcessBed> {
  const directory = mkdtempSync(join(tmpdir(), 'moot-forward-'))
  const log: string[] = []
  const servers: Server[] = []
  const port = await freePort()
  const program = forwarderProgram()
  let version = program.version
  const start = (): Forwarder =>
    processForwarder({
      directory: join(directory, 'forwarder'),
      program: { path: program.path, version },
      settings: defaults,
      log: (line) => log.push(line),
    })
  let forwarder = start()
  return {
    directory: join(directory, 'forwarder'),
    log,
    port,
    forwarder: () => forwarder,
    setProgram: (other) => (version = other),
    pids: () => processesBelow(directory),
    async restart() {
      await forwarder.close()
      forwarder = start()
    },
    async container(name) {
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        socket.write(`${name} `)
        let heard = ''
        socket.on('data', (chunk: Buffer) => (heard += chunk.toString()))
        socket.on('end', () => socket.end(heard))
        socket.on('error', () => undefined)
      })
      const address = addressOf(name)
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(target, address, resolve)
      })
      servers.push(server)
      return { kind: 'local', task: name as TaskId, address }
    },
    open: () => openTcp(port),
    async close() {
      await forwarder.close()
      for (const server of servers) server.close()
      for (let pids = processesBelow(directory); pids.length > 0; pids = processesBelow(directory)) {
        for (const pid of pids) process.kill(pid, 'SIGKILL')
        await delay(5)
      }
      rmSync(directory, { recursive: true })
    },
  }
}

export async function openTcp(port: number): Promise<Talk | undefined> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
  const heard: Buffer[] = []
  const begun = Promise.withResolvers<void>()
  socket.once('data', () => begun.resolve())
  const whole = new Promise<string | undefined>((resolve) => {
    socket.on('data', (chunk: Buffer) => heard.push(chunk))
    socket.on('end', () => resolve(Buffer.concat(heard).toString()))
    socket.on('error', () => resolve(undefined))
  })
  const isOpen = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
  })
  if (!isOpen) return undefined
  return {
    begun: () => begun.promise,
    say: (text) => written(socket, text),
    end() {
      socket.end()
      return whole
    },
  }
}

function written(socket: Socket, text: string): Promise<void> {
  return new Promise((resolve) => {
    socket.write(text, () => resolve())
  })
}

/** Below what Linux gives to connections out of this host, which take a port as well. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_240 + Math.floor(Math.random() * 20_000)
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '0.0.0.0', () => resolve(true))
    })
    server.close()
    if (isFree) return port
  }
}
