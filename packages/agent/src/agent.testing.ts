import { createHash } from 'node:crypto'
import { type Author, digestId, type NodeId, type ServiceSpec } from '@moot/crdt-state'
import { pino } from 'pino'
import { type Agent, createAgent } from './agent.ts'
import type { SlotKey } from './core/lease/messages.ts'
import { knownRules, type Rules } from './core/rules.ts'
import { defaults } from './defaults.ts'
import { type Home, memoryHome } from './home.ts'
import { type MemoryClock, memoryClock } from './ports/clock.memory.ts'
import { memoryWitness } from './ports/witness.memory.ts'
import { memoryExclusiveHost, type MemoryExclusiveHost } from './ports/exclusive-host.memory.ts'
import type { WireGuardAbility } from './ports/data-plane.ts'
import { type MemoryDataPlane, memoryDataPlane } from './ports/data-plane.memory.ts'
import { type MemoryForwarder, memoryForwarder } from './ports/forwarder.memory.ts'
import { memoryNameServer, type MemoryNameServerProcess } from './ports/name-server.memory.ts'
import { memoryProber } from './ports/prober.memory.ts'
import { MemoryEngine } from './ports/engine.memory.ts'
import { PeerUnreachableError } from './ports/mesh.errors.ts'
import { memoryNetwork, type MemoryNetwork } from './ports/mesh.memory.ts'
import type { Gate, Mesh } from './ports/mesh.ts'

export const author: Author = { node: 'test', client: 'test', atMs: 0 }

/** A machine of the world: its disk and its engine outlive its agents. */
export interface Machine {
  readonly home: Home
  agent: Agent
  /** Known once the agent has a key. */
  readonly node: NodeId
  engine: MemoryEngine
  exclusive: MemoryExclusiveHost
  kernel: MemoryDataPlane
  forwarder: MemoryForwarder
  names: MemoryNameServerProcess
  /** As others know it, unless somebody says otherwise. */
  address: string
  /** Given to its agent at each start. */
  advertise?: string
  /** Whom its agent takes for a member. */
  gate: Gate
  /** What its agent knows, when it is another release. */
  rules?: readonly Rules[]
  /** Its mesh port is another program's. */
  portTaken?: boolean
  /** What the issuer answers to its join request never arrives. */
  answerLost?: boolean
}

export function kernelWith(wireGuard: WireGuardAbility): MemoryDataPlane {
  return memoryDataPlane({ kind: 'kernel', version: 'in memory', wireGuard })
}

/** Whole agents in one process: production code over the ports' twins, in virtual time. */
export class World {
  readonly clock: MemoryClock = memoryClock()
  readonly network: MemoryNetwork = memoryNetwork({ clock: this.clock })
  readonly machines: Machine[] = []
  #drawn = 0
  #addresses = 0

  /** @param kernel what its kernel can do: all there is. */
  async add(kernel = kernelWith({ kind: 'kernel' })): Promise<Machine> {
    const home = memoryHome()
    const machine = { home, kernel } as { -readonly [K in keyof Machine]: Machine[K] }
    this.#boot(machine)
    machine.node = machine.agent.self
    await machine.agent.start()
    this.machines.push(machine)
    return machine
  }

  /**
   * A cluster of `count`, formed by tokens.
   * @param kernelOf what each one's kernel can do.
   */
  static async of(
    count: number,
    kernelOf: (index: number) => MemoryDataPlane = () => kernelWith({ kind: 'kernel' }),
  ): Promise<World> {
    const world = new World()
    const first = await world.add(kernelOf(0))
    await first.agent.init({ author })
    for (let index = 1; index < count; index++) {
      const machine = await world.add(kernelOf(index))
      const { token } = await first.agent.createToken({ ttlMs: 60_000 })
      await world.during(machine.agent.join(token, { author }))
    }
    await world.pass(2_000)
    return world
  }

  /** The agent stops, and another begins with what its disk has. */
  async restart(machine: Machine): Promise<void> {
    await this.during(machine.agent.stop())
    await this.start(machine)
  }

  async start(machine: Machine): Promise<void> {
    this.#boot(machine)
    await machine.agent.start()
  }

  pass(ms: number): Promise<void> {
    return this.clock.advance(ms)
  }

  /** Lets time pass while something is under way. */
  async during<T>(work: Promise<T>): Promise<T> {
    const over = new AbortController()
    const done = work.finally(() => over.abort())
    done.catch(() => undefined)
    for (let rounds = 0; rounds < 1_000 && !over.signal.aborted; rounds++) await this.clock.advance(50)
    return done
  }

  /** Lets time pass until something holds; fails after `boundMs` of virtual time. */
  async until(sentence: string, holds: () => boolean | Promise<boolean>, boundMs = 60_000): Promise<void> {
    for (let passedMs = 0; passedMs < boundMs; passedMs += 50) {
      if (await holds()) return
      await this.clock.advance(50)
    }
    throw new Error(`not within ${boundMs} ms: ${sentence}`)
  }

  nth(index: number): Machine {
    const machine = this.machines[index]
    if (machine === undefined) throw new Error(`no machine ${index}`)
    return machine
  }

  /** Resolves once so many containers run in all. */
  runs(count: number): Promise<void> {
    return this.until(`${count} containers run`, async () => (await this.running()).length === count)
  }

  /** Running containers of all machines, by slot. */
  async running(): Promise<string[]> {
    const lists = await Promise.all(
      this.machines.map(async ({ engine }) => engine.list(AbortSignal.timeout(1_000)).catch(() => [])),
    )
    return lists
      .flat()
      .filter(({ state }) => state === 'running')
      .map(({ task }) => task)
  }

  async stop(): Promise<void> {
    for (const { agent } of this.machines) await this.during(agent.stop())
  }

  /** The kernel's cgroups: what the engine runs of a slot is below its parent. */
  #exclusive(machine: Pick<Machine, 'engine'>): MemoryExclusiveHost {
    const blocked = new Set<string>()
    const slotOf = (cgroup: string): SlotKey => cgroup.replace('/moot/exclusive/', '') as SlotKey
    return memoryExclusiveHost(this.clock, {
      open: (cgroup) => blocked.delete(cgroup),
      block: (cgroup) => blocked.add(cgroup),
      kill: (cgroup) => machine.engine.killSlot(slotOf(cgroup)),
      isOccupied: (cgroup) => machine.engine.isOccupied(slotOf(cgroup)),
      remove: (cgroup) => blocked.delete(cgroup),
    })
  }

  #boot(machine: Omit<Machine, 'node' | 'home'> & { readonly home: Home }): void {
    const random = (): number =>
      createHash('sha256').update(`${this.#drawn++}`).digest().readUInt32BE(0) / 2 ** 32
    const randomHex = (bytes: number): string =>
      createHash('shake256', { outputLength: bytes }).update(`${this.#drawn++}`).digest('hex')
    machine.agent = createAgent({
      home: machine.home,
      engine: ({ node }) => (machine.engine ??= new MemoryEngine({ clock: this.clock, node })),
      mesh: ({ identity, gate }) => {
        machine.gate = gate
        const mesh = this.network.mesh(machine.agent.self, { gate, publicKey: identity.publicKey })
        return withFaults(mesh, machine)
      },
      witness: memoryWitness(this.clock),
      nameServer: () => memoryNameServer((machine.names ??= {})),
      dataPlane: () => machine.kernel,
      forwarder: () => (machine.forwarder ??= memoryForwarder()),
      prober: memoryProber(this.clock, () => ({ kind: 'answers', status: 200 })),
      exclusive: (machine.exclusive ??= this.#exclusive(machine)),
      clock: this.clock,
      logger: pino({ level: process.env['MOOT_LOG_LEVEL'] ?? 'silent' }),
      settings: defaults,
      random,
      randomHex,
      newId: () => digestId(randomHex(16)),
      agentVersion: '0.0.0',
      rules: machine.rules ?? knownRules,
      hostname: 'machine',
      advertise: machine.advertise,
      guessedAddress: (machine.address ??= `10.99.0.${(this.#addresses += 1)}`),
      halt: () => {
        throw new Error('the agent of a machine ends itself')
      },
    })
  }
}

function withFaults(mesh: Mesh, faults: Pick<Machine, 'portTaken' | 'answerLost'>): Mesh {
  const start = mesh.start.bind(mesh)
  const join = mesh.join.bind(mesh)
  return Object.assign(mesh, {
    async start() {
      if (faults.portTaken === true) throw new Error('address already in use')
      await start()
    },
    async join(...args: Parameters<Mesh['join']>) {
      const answer = await join(...args)
      if (faults.answerLost === true) throw new PeerUnreachableError(args[0], args[1], 'the answer was lost')
      return answer
    },
  })
}

export function webSpec(replicas: number, image = 'moot/test:1'): ServiceSpec {
  return {
    Name: 'web',
    Labels: {},
    TaskTemplate: { ContainerSpec: { Image: image } },
    Mode: { Replicated: { Replicas: replicas } },
  }
}
