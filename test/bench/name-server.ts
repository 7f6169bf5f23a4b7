/**
 * Figures of a node's name server, as it is shipped: its start and its memory, how soon a change of 1,000 services of 10 tasks is answered by,
 * and how many questions it answers.
 *
 *     node scripts/build.ts && node test/bench/name-server.ts
 */
import { createSocket } from 'node:dgram'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { encode } from 'dns-packet'
import type { ResourceId } from '@moot/crdt-state'
import { processNameServer } from '../../packages/agent/src/adapters/dns/client.ts'
import { Line } from '../../packages/agent/src/adapters/detached/line.ts'
import { nameServerWire } from '../../packages/agent/src/adapters/dns/protocol.ts'
import type { Answer, NameTable } from '../../packages/agent/src/core/network/name-table.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'

const services = 1_000
const tasksPerService = 10
const port = 17_453
const asker = '127.77.0.99'
const seconds = 5
/** USER_HZ: the unit of utime and stime in /proc/PID/stat (proc(5)). */
const ticksPerSecond = 100
const signal = AbortSignal.timeout(120_000)

/** @param changed in the first service, so many of its tasks have another address. */
function tableOf(changed: number): NameTable {
  const names: Record<string, Answer> = {}
  const reverse: Record<string, string> = {}
  for (let service = 0; service < services; service++) {
    const name = `service-${service}`
    const vip = `127.77.${service >> 8}.${service & 255}`
    names[name] = names[`${name}.shop`] = { addresses: [vip], local: 0 }
    reverse[vip] = name
    const tasks = Array.from({ length: tasksPerService }, (_, task) => {
      const number = service * tasksPerService + task + (service === 0 && task === 0 ? changed : 0)
      return `127.77.${64 + (number >> 8)}.${number & 255}`
    })
    names[`tasks.${name}`] = names[`local.${name}`] = { addresses: tasks, local: 1 }
    for (const [task, address] of tasks.entries()) {
      names[`${name}.${task + 1}.x7f2k9q`] = { addresses: [address], local: 0 }
      reverse[address] = `${name}.${task + 1}.x7f2k9q`
    }
  }
  const networks = [{ id: 'front' as ResourceId, subnet: '127.77.0.0/16', isInternal: false, names, reverse }]
  return { networks, clients: [] }
}

interface Load {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** @param perSocket questions under way at once; @param pauseMs between an answer and the next question. */
async function load(perSocket: number, sockets: number, pauseMs: number): Promise<Load> {
  const tookMs: number[] = []
  let isOver = false
  const all = Array.from({ length: sockets }, (_, number) => {
    const socket = createSocket('udp4')
    const sentMs = new Map<number, number>()
    let next = 0
    const ask = (): void => {
      if (isOver) return
      const id = next++ & 0xffff
      const name = `tasks.service-${(id * 7 + number) % services}.moot.internal`
      sentMs.set(id, performance.now())
      socket.send(
        encode({ type: 'query', id, flags: 0x0100, questions: [{ type: 'A', name }] }),
        port,
        '127.0.0.1',
      )
    }
    socket.on('message', (answer) => {
      const id = answer.readUInt16BE(0)
      tookMs.push(performance.now() - (sentMs.get(id) ?? 0))
      sentMs.delete(id)
      if (pauseMs === 0) ask()
      else setTimeout(ask, pauseMs)
    })
    socket.bind({ address: asker }, () => {
      for (let each = 0; each < perSocket; each++) ask()
    })
    return socket
  })
  await delay(seconds * 1_000)
  isOver = true
  const perSecond = tookMs.length / seconds
  await delay(100)
  for (const socket of all) socket.close()
  const sorted = tookMs.toSorted((one, other) => one - other)
  const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? NaN
  return { perSecond, p50Ms: at(0.5), p99Ms: at(0.99) }
}

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

function memoryMb(pid: number, what: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`${what}:\\s+(\\d+)`).exec(status)?.[1]) / 1024
}

function memory(pid: number): string {
  return `${memoryMb(pid, 'VmRSS').toFixed(0)} MB, of its own ${memoryMb(pid, 'RssAnon').toFixed(0)}`
}

async function timedMs(work: () => Promise<unknown>): Promise<number> {
  const fromMs = performance.now()
  await work()
  return performance.now() - fromMs
}

const directory = mkdtempSync(join(tmpdir(), 'moot-names-'))
const setup = {
  directory,
  port,
  program: { path: resolve(import.meta.dirname, '../../dist/name-server.mjs'), version: 'measured' },
  settings: defaults,
  log: (line: string): void => console.error(line),
}
const server = processNameServer(setup)
const print = (what: string, figure: string): void => console.log(`${what.padEnd(50)} ${figure}`)
const ms = (value: number): string => `${value.toFixed(1)} ms`

const empty = { networks: [], clients: [] }
print('start, until it answers by an empty table', ms(await timedMs(() => server.publish(empty, signal))))
const line = await Line.open(join(directory, 'socket'), nameServerWire, defaults, () => undefined)
const { pid } = await line.hello()
print('memory, empty table', memory(pid))
const whole = tableOf(0)
print('1,000 services of 10 tasks, all', ms(await timedMs(() => server.publish(whole, signal))))
const changes: number[] = []
for (let change = 1; change <= 50; change++) {
  // Made anew, as from a view: nothing in it is the same object.
  const table = tableOf(change)
  changes.push(await timedMs(() => server.publish(table, signal)))
  await delay(20)
}
changes.sort((one, other) => one - other)
print('the same, one task changed: p50, max of 50', `${ms(changes[25] ?? NaN)}, ${ms(changes.at(-1) ?? NaN)}`)
await delay(500)
print('memory, with that table', memory(pid))
const calm = await load(1, 16, 8)
print(
  `questions, calm: ${calm.perSecond.toFixed(0)} a second`,
  `p50 ${ms(calm.p50Ms)}, p99 ${ms(calm.p99Ms)}`,
)
const beforeSeconds = cpuSeconds(pid)
const full = await load(8, 16, 0)
const busy = (cpuSeconds(pid) - beforeSeconds) / seconds
print(
  `questions, as many as go: ${full.perSecond.toFixed(0)} a second`,
  `p50 ${ms(full.p50Ms)}, p99 ${ms(full.p99Ms)}`,
)
print(
  'of one core it had',
  `${(100 * busy).toFixed(0)} %, so ${(full.perSecond / busy).toFixed(0)} a second of its time`,
)
print('memory, after that', memory(pid))
line.close()
const again = processNameServer(setup)
process.kill(pid, 'SIGKILL')
await server.close()
print('killed: until it answers by that table', ms(await timedMs(() => again.publish(whole, signal))))
await again.end(signal)
rmSync(directory, { recursive: true })
