import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Answer, type DecodedPacket, decode, encode } from 'dns-packet'
import type { ResourceId } from '@moot/crdt-state'
import { processNameServer } from '../../packages/agent/src/adapters/dns/client.ts'
import { Line } from '../../packages/agent/src/adapters/detached/line.ts'
import { framed, Messages } from '../../packages/agent/src/adapters/messages.ts'
import { nameServerProgram } from '../../packages/agent/src/adapters/dns/program.ts'
import { nameServerWire } from '../../packages/agent/src/adapters/dns/protocol.ts'
import type { AskedType, NameAnswer } from '../../packages/agent/src/core/network/answering.ts'
import type { NamedNetwork, NameTable } from '../../packages/agent/src/core/network/name-table.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { memoryNameServer } from '../../packages/agent/src/ports/name-server.memory.ts'
import type { NameServer } from '../../packages/agent/src/ports/name-server.ts'
import { isAlive, processesBelow } from './processes.ts'

/** What was answered; `failed`: none of the name servers that it was passed on to. */
export interface Told {
  readonly kind: 'addresses' | 'pointer' | 'empty' | 'unknown' | 'refused' | 'failed' | 'other'
  readonly values: readonly string[]
}

export interface NameServerBed {
  /** This agent's. */
  server(): NameServer
  /** This agent ends, however; another takes its place. */
  restart(): Promise<void>
  /** As from a container at this address, in 127.77.0.0/16. Undefined: nobody answers. */
  ask(from: string, name: string, type?: 'A' | 'AAAA' | 'PTR' | 'SOA' | 'ANY'): Promise<Told | undefined>
  close(): Promise<void>
}

export const signal = AbortSignal.timeout(24 * 60 * 60_000)

export function memoryBed(): Promise<NameServerBed> {
  const process = {}
  let server = memoryNameServer(process)
  return Promise.resolve({
    server: () => server,
    async restart() {
      await server.close()
      server = memoryNameServer(process)
    },
    ask(from, name, type = 'A') {
      const asked: AskedType = type === 'AAAA' ? 'other' : type
      const answer = server.ask(from, name, asked)
      return Promise.resolve(answer && toldOf(answer))
    },
    close: () => server.close(),
  })
}

function toldOf(answer: NameAnswer): Told {
  switch (answer.kind) {
    case 'addresses':
      return { kind: 'addresses', values: answer.addresses }
    case 'pointer':
      return { kind: 'pointer', values: [answer.name] }
    case 'forward':
      return { kind: 'failed', values: [] }
    case 'authority':
      return { kind: 'other', values: [] }
    default:
      return { kind: answer.kind, values: [] }
  }
}

export interface ProcessBed extends NameServerBed {
  readonly directory: string
  readonly port: number
  readonly forwardPort: number
  readonly log: readonly string[]
  /** The host's own name servers. */
  setNameservers(...addresses: string[]): void
  /** Of the next agent. */
  setProgram(version: string): void
  another(more?: { readonly directory?: string }): NameServer
  pid(): Promise<number>
  kill(): Promise<void>
  send(message: Buffer, from: string, withinMs?: number): Promise<Buffer | undefined>
}

export async function processBed(): Promise<ProcessBed> {
  const directory = mkdtempSync(join(tmpdir(), 'moot-dns-'))
  const resolvConf = join(directory, 'resolv.conf')
  writeFileSync(resolvConf, '')
  const [port, forwardPort] = [await freePort(), await freePort()]
  const log: string[] = []
  const servers: NameServer[] = []
  const program = nameServerProgram()
  let version = program.version
  const start = (more: { readonly directory?: string } = {}): NameServer => {
    const server = processNameServer({
      directory: join(directory, 'names'),
      port,
      resolvConf,
      forwardPort,
      program: { path: program.path, version },
      settings: defaults,
      log: (line) => log.push(line),
      ...more,
    })
    servers.push(server)
    return server
  }
  let server = start()
  const bed: ProcessBed = {
    directory: join(directory, 'names'),
    port,
    forwardPort,
    log,
    server: () => server,
    setNameservers(...addresses) {
      writeFileSync(resolvConf, addresses.map((address) => `nameserver ${address}\n`).join(''))
    },
    setProgram: (other) => (version = other),
    another: start,
    async restart() {
      await server.close()
      server = start()
    },
    send: (message, from, withinMs = 1_000) => sendUdp(message, from, port, withinMs),
    async ask(from, name, type = 'A') {
      const bytes = await bed.send(query(name, type), from, 8_000)
      return bytes && toldIn(decode(bytes))
    },
    async pid() {
      const line = await Line.open(join(bed.directory, 'socket'), nameServerWire, defaults, () => undefined)
      const { pid } = await line.hello()
      line.close()
      return pid
    },
    async kill() {
      const pid = await bed.pid()
      process.kill(pid, 'SIGKILL')
      while (isAlive(pid)) await delay(5)
    },
    async close() {
      for (const each of servers) await each.close()
      for (let pids = processesBelow(directory); pids.length > 0; pids = processesBelow(directory)) {
        for (const pid of pids) process.kill(pid, 'SIGKILL')
        await delay(5)
      }
      rmSync(directory, { recursive: true })
    },
  }
  return bed
}

export function query(name: string, type = 'A', id = Math.floor(Math.random() * 65_536)): Buffer {
  return encode({ type: 'query', id, flags: 0x0100, questions: [{ name, type: type as 'A', class: 'IN' }] })
}

export function codeOf(bytes: Buffer): number {
  return bytes.readUInt16BE(2) & 0xf
}

export function addressesIn({ answers = [] }: { answers?: Answer[] | undefined }): string[] {
  return answers.flatMap((each) => (each.type === 'A' ? [each.data] : []))
}

function toldIn(packet: DecodedPacket): Told {
  const { answers = [] } = packet
  const code = (packet.flags ?? 0) & 0xf
  if (code === 0 && answers.length === 0) return { kind: 'empty', values: [] }
  if (code === 0) {
    const pointers = answers.flatMap((each) => (each.type === 'PTR' ? [each.data] : []))
    if (pointers.length > 0) return { kind: 'pointer', values: pointers }
    const values = addressesIn(packet)
    return { kind: values.length > 0 ? 'addresses' : 'other', values }
  }
  const kinds = { 2: 'failed', 3: 'unknown', 5: 'refused' } as const
  return { kind: code === 2 || code === 3 || code === 5 ? kinds[code] : 'other', values: [] }
}

/** Undefined: no answer in time, or nobody is there. */
export async function sendUdp(
  message: Buffer,
  from: string,
  port: number,
  withinMs: number,
): Promise<Buffer | undefined> {
  const socket = createSocket('udp4')
  const abort = new AbortController()
  try {
    await new Promise<void>((resolve) => {
      socket.bind({ address: from }, resolve)
    })
    await new Promise<void>((resolve) => {
      socket.connect(port, '127.0.0.1', resolve)
    })
    socket.send(message)
    const answer = once(socket, 'message', { signal: abort.signal })
    const late = delay(withinMs, undefined, { signal: abort.signal })
    const result = (await Promise.race([answer, late])) as [Buffer] | undefined
    return result?.[0]
  } catch {
    return undefined
  } finally {
    abort.abort()
    socket.close()
  }
}

/** All in one connection, at once; resolves with as many answers. */
export async function sendTcp(messages: readonly Buffer[], from: string, port: number): Promise<Buffer[]> {
  const socket = connect({ host: '127.0.0.1', port, localAddress: from })
  const answers: Buffer[] = []
  const done = Promise.withResolvers<void>()
  const reading = new Messages(65_535, (message) => {
    if (answers.push(message) === messages.length) done.resolve()
  })
  socket.on('data', (chunk: Buffer) => reading.push(chunk))
  socket.on('error', done.reject)
  socket.on('close', () => done.resolve())
  socket.write(Buffer.concat(messages.map(framed)))
  await done.promise
  socket.destroy()
  return answers
}

/** Free for UDP and TCP, and below what Linux gives to connections out of this host: those, and what is left of them, take a port as well. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_240 + Math.floor(Math.random() * 20_000)
    const server = createServer()
    const socket = createSocket('udp4')
    try {
      const isListening = once(server, 'listening')
      server.listen({ port, host: '0.0.0.0' })
      await isListening
      const isBound = once(socket, 'listening')
      socket.bind({ port, address: '0.0.0.0' })
      await isBound
      return port
    } catch {
      // Taken: another one.
    } finally {
      server.close()
      socket.close()
    }
  }
}

export const front = 'front' as ResourceId
export const back = 'back' as ResourceId

/** Two networks in 127.77.0.0/16, `more` in the first; the container at 127.77.0.17 is on both, and prefers the second. */
export function tableOf(more: NamedNetwork['names'] = {}, nameservers: readonly string[] = []): NameTable {
  return {
    networks: [
      {
        id: front,
        subnet: '127.77.0.0/17',
        isInternal: false,
        names: {
          web: { addresses: ['127.77.0.2'], local: 0 },
          'tasks.web': { addresses: ['127.77.0.17', '127.77.0.33', '127.77.0.34'], local: 1 },
          ...more,
        },
        reverse: { '127.77.0.2': 'web' },
      },
      {
        id: back,
        subnet: '127.77.128.0/17',
        isInternal: true,
        names: { web: { addresses: ['127.77.128.2'], local: 0 } },
        reverse: {},
      },
    ],
    clients: [{ addresses: ['127.77.0.17', '127.77.128.17'], networks: [back, front], nameservers }],
  }
}
