import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Address, Protocol } from '../../packages/agent/src/core/network/plane.ts'
import { directoryWireGuardKeys, type WireGuardKeys } from '../../packages/agent/src/wire-guard-keys.ts'
import type { DataPlane } from '../../packages/agent/src/ports/data-plane.ts'
import { attempt, run } from '../../scripts/bed/shell.ts'
import {
  addressOf,
  bridgeOf,
  clientAddress,
  containers,
  hasBridges,
  hostCount,
  networkNames,
  servedPort,
  underlayOf,
} from '../conformance/data-plane.setup.ts'
import type { Answer, Asker, DataPlaneBed } from '../conformance/data-plane.suite.ts'
import type { HostGiven, LoadOptions, LoadReport, Order, Reply } from './data-plane.orders.ts'

/** No answer by then is none: all ways here are a few microseconds long. */
const silenceMs = 1_300

export interface NamespaceBed extends DataPlaneBed {
  namespace(of: string): string
  /** Runs a program there. */
  within(of: string, program: string, ...args: string[]): Promise<string>
  order(to: string, order: Order): Promise<unknown>
  load(from: Asker, options: LoadOptions): Promise<{ end(): Promise<LoadReport> }>
  /** The host's agent is killed, as by SIGKILL, and another one comes. */
  replaceAgent(host: number): Promise<void>
  /** What the host's agent has on its disk. */
  wireGuardKeys(host: number): WireGuardKeys
  /** The interface of a lane. */
  wireGuardDevice(host: number, lane: 0 | 1): string
}

let beds = 0

/** Hosts, containers and a client, each a network namespace with a process in it; a switch, in one more. */
export async function namespaceBed(): Promise<NamespaceBed> {
  const prefix = `moot-dp${process.pid}-${beds++}`
  const namespace = (of: string): string => `${prefix}-${of}`
  const inhabitants = new Map<string, Inhabitant>()
  const hosts = Array.from({ length: hostCount }, (_, index) => index + 1)
  const who = ['client', ...hosts.map((host) => `host${host}`), ...Object.keys(containers)]
  const inhabitant = (name: string): Inhabitant => {
    const found = inhabitants.get(name)
    if (found === undefined) throw new Error(`nobody is called ${name}`)
    return found
  }
  const disk = mkdtempSync(join(tmpdir(), 'moot-dp-'))
  const keyDirectory = (name: string): string => join(disk, name)
  // Of one machine: the processes behind such interfaces share a directory of sockets, by interfaces' names.
  const wireGuardPrefix = (name: string): string => `w${prefix.slice('moot-dp'.length)}${name.slice(-1)}-`
  const moveIn = (name: string): void => {
    const given = { keyDirectory: keyDirectory(name), device: wireGuardPrefix(name) }
    inhabitants.set(name, new Inhabitant(name, namespace(name), given))
  }

  const bed: NamespaceBed = {
    namespace,
    within: (of, program, ...args) => run('nsenter', [`--net=/run/netns/${namespace(of)}`, program, ...args]),
    dataPlane: (host) => inhabitant(`host${host}`).dataPlane,
    order: (to, order) => inhabitant(to).obey(order),
    async ask(from, to, port, protocol = 'tcp', patienceMs = silenceMs) {
      return answerOf(await inhabitant(from).ask(to, port, protocol, patienceMs))
    },
    async load(from, options) {
      await inhabitant(from).obey({ do: 'begin', name: 'load', ...options })
      return { end: async () => (await inhabitant(from).obey({ do: 'end', name: 'load' })) as LoadReport }
    },
    async replaceAgent(host) {
      await inhabitant(`host${host}`).kill()
      moveIn(`host${host}`)
    },
    wireGuardKeys: (host) => directoryWireGuardKeys(keyDirectory(`host${host}`)),
    wireGuardDevice: (host, lane) => `${wireGuardPrefix(`host${host}`)}${lane}`,
    async close() {
      for (const each of inhabitants.values()) await each.kill()
      for (const host of hosts) {
        for (const lane of [0, 1] as const) {
          await attempt('ip', [
            '-n',
            namespace(`host${host}`),
            'link',
            'del',
            bed.wireGuardDevice(host, lane),
          ])
        }
      }
      rmSync(disk, { recursive: true })
      for (const name of ['switch', ...who]) await attempt('ip', ['netns', 'del', namespace(name)])
    },
  }
  try {
    await makeSwitch(namespace('switch'))
    for (const host of hosts) await makeHost(namespace, host)
    await plug(namespace('client'), namespace('switch'), { port: 'p100', address: clientAddress })
    for (const container of Object.values(containers)) {
      const bridge = bridgeOf(container.network)
      await makeContainer(namespace, container, bridge)
    }
    for (const host of hosts) mkdirSync(keyDirectory(`host${host}`))
    for (const name of who) moveIn(name)
    await Promise.all(
      [...inhabitants]
        .filter(([name]) => !name.startsWith('host'))
        .map(([name, each]) => each.obey({ do: 'serve', name, port: servedPort })),
    )
  } catch (error) {
    await bed.close()
    throw error
  }
  return bed
}

async function makeSwitch(name: string): Promise<void> {
  await run('ip', ['netns', 'add', name])
  await run('ip', ['-n', name, 'link', 'add', 'br0', 'type', 'bridge'])
  await run('ip', ['-n', name, 'link', 'set', 'br0', 'up'])
}

/** A namespace with a cable to the switch. */
async function plug(
  name: string,
  switchName: string,
  { port, address }: { readonly port: string; readonly address: Address },
): Promise<void> {
  await run('ip', ['netns', 'add', name])
  await run('ip', [
    'link',
    'add',
    'eth0',
    'netns',
    name,
    'type',
    'veth',
    'peer',
    'name',
    port,
    'netns',
    switchName,
  ])
  await run('ip', ['-n', switchName, 'link', 'set', port, 'master', 'br0', 'up'])
  await batch(name, ['link set lo up', `addr add ${address}/24 dev eth0`, 'link set eth0 up'])
}

/** What administrators do to hosts; the second one also has what Docker does. */
const manners: Readonly<Record<number, readonly string[]>> = {
  1: [
    'net.ipv4.conf.all.rp_filter=1',
    'net.ipv6.conf.all.disable_ipv6=1',
    'net.bridge.bridge-nf-call-iptables=0',
  ],
  2: ['net.ipv4.conf.all.rp_filter=1', 'net.bridge.bridge-nf-call-iptables=1'],
  3: ['net.ipv4.conf.all.rp_filter=0'],
}
export const hostWithDocker = 2

async function beLikeDocker(name: string): Promise<void> {
  for (const rule of [
    '-P FORWARD DROP',
    '-N DOCKER-USER',
    '-A DOCKER-USER -j RETURN',
    '-A FORWARD -j DOCKER-USER',
  ]) {
    await run('nsenter', [`--net=/run/netns/${name}`, 'iptables', ...rule.split(' ')])
  }
}

async function makeHost(namespace: (of: string) => string, host: number): Promise<void> {
  const name = namespace(`host${host}`)
  await plug(name, namespace('switch'), { port: `p${host}`, address: underlayOf(host) })
  // Nobody is there: what goes out into the world is lost.
  await batch(name, ['route add default via 10.99.0.254'])
  await run('nsenter', [`--net=/run/netns/${name}`, 'sysctl', '-qw', ...manners[host]!])
  if (host === hostWithDocker) await beLikeDocker(name)
  if (!hasBridges(host)) return
  for (const network of networkNames) {
    const bridge = bridgeOf(network)
    await batch(name, [
      `link add ${bridge} type bridge`,
      `addr add ${addressOf(network, host, 1)}/18 dev ${bridge}`,
      `link set ${bridge} up`,
    ])
  }
}

/** As Docker makes one: a cable to the bridge, the whole subnet on it, and all else by the bridge's address. */
async function makeContainer(
  namespace: (of: string) => string,
  { name, host, network, address }: (typeof containers)[keyof typeof containers],
  bridge: string,
): Promise<void> {
  const own = namespace(name)
  const at = namespace(`host${host}`)
  await run('ip', ['netns', 'add', own])
  await run('ip', ['link', 'add', 'eth0', 'netns', own, 'type', 'veth', 'peer', 'name', name, 'netns', at])
  await run('ip', ['-n', at, 'link', 'set', name, 'master', bridge, 'up'])
  await batch(own, [
    'link set lo up',
    // One that was told a larger MTU than the tunnel's.
    name === 'web2' ? 'link set eth0 up' : 'link set eth0 mtu 1450 up',
    `addr add ${address}/18 dev eth0`,
    `route add default via ${addressOf(network, host, 1)}`,
  ])
}

async function batch(namespace: string, lines: readonly string[]): Promise<void> {
  await run('ip', ['-n', namespace, '-batch', '-'], { input: `${lines.join('\n')}\n` })
}

function answerOf(told: string): Answer {
  if (told === 'ECONNREFUSED') return { kind: 'refused' }
  if (['silent', 'EHOSTUNREACH', 'ENETUNREACH', 'EACCES'].includes(told)) return { kind: 'unreachable' }
  const [by, sees] = told.split(' ')
  if (by === undefined || sees === undefined) throw new Error(`an answer like no other: ${told}`)
  return { kind: 'answered', by, sees }
}

function abortOf(signal: AbortSignal): { readonly aborted?: string } {
  return signal.aborted ? { aborted: (signal.reason as Error).message } : {}
}

/** The process in a namespace, and its data plane as if it were here. */
class Inhabitant {
  readonly dataPlane: DataPlane
  private readonly child: ChildProcess
  private readonly waiting = new Map<
    number,
    { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }
  >()
  private lastId = 0

  constructor(name: string, namespace: string, given: HostGiven) {
    const script = join(import.meta.dirname, 'data-plane.inhabitant.ts')
    // nsenter becomes the program that it starts.
    this.child = spawn(
      'nsenter',
      [`--net=/run/netns/${namespace}`, process.execPath, script, JSON.stringify(given)],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    )
    createInterface({ input: this.child.stdout! }).on('line', (line) => this.hear(JSON.parse(line) as Reply))
    this.child.on('exit', () => {
      for (const { reject } of this.waiting.values()) reject(new Error(`${name} has ended`))
      this.waiting.clear()
    })
    this.dataPlane = {
      ability: () => this.obey({ do: 'ability' }) as ReturnType<DataPlane['ability']>,
      apply: async (plane, signal) => {
        await this.obey({ do: 'apply', plane, ...abortOf(signal) })
      },
      check: async (signal) => {
        await this.obey({ do: 'check', ...abortOf(signal) })
      },
      isIntact: () => true,
      tunnel: () => this.obey({ do: 'tunnel' }) as ReturnType<DataPlane['tunnel']>,
      clear: async () => {
        await this.obey({ do: 'clear' })
      },
    }
  }

  obey(order: Order): Promise<unknown> {
    const id = ++this.lastId
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject })
      this.child.stdin!.write(`${JSON.stringify({ id, order })}\n`)
    })
  }

  async ask(to: Address, port: number, protocol: Protocol, timeoutMs = silenceMs): Promise<string> {
    if (protocol === 'sctp') throw new Error('nobody here speaks SCTP')
    return String(await this.obey({ do: 'ask', to, port, protocol, timeoutMs }))
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    this.child.kill('SIGKILL')
    await once(this.child, 'exit')
  }

  private hear({ id, value, error }: Reply): void {
    const waiting = this.waiting.get(id)
    this.waiting.delete(id)
    if (error === undefined) waiting?.resolve(value)
    else waiting?.reject(Object.assign(new Error(error.message), { name: error.name, code: error.code }))
  }
}
