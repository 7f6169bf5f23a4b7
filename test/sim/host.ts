import { createHash } from 'node:crypto'
import {
  digestId,
  type Identity,
  memoryStorage,
  type MemoryStorage,
  nodeIdOf,
  type NodeId,
  type TaskEntry,
  type TaskId,
} from '@moot/crdt-state'
import { inject } from 'light-my-request'
import { pino } from 'pino'
import { type Agent, createAgent } from '../../packages/agent/src/agent.ts'
import { type ApiServer, createApiServer } from '../../packages/agent/src/api/server.ts'
import { knownRules, type Rules } from '../../packages/agent/src/core/rules.ts'
import type { Home } from '../../packages/agent/src/home.ts'
import { memoryBootMemory, type MemoryBootMemory } from '../../packages/agent/src/ports/boot-memory.memory.ts'
import type { MemoryCall } from '../../packages/agent/src/ports/engine.memory.calls.ts'
import { MemoryEngine } from '../../packages/agent/src/ports/engine.memory.ts'
import type { ExclusiveHost } from '../../packages/agent/src/ports/exclusive-host.ts'
import { memoryDataPlane } from '../../packages/agent/src/ports/data-plane.memory.ts'
import { memoryWireGuardKeys } from '../../packages/agent/src/wire-guard-keys.ts'
import {
  memoryNameServer,
  type MemoryNameServerProcess,
} from '../../packages/agent/src/ports/name-server.memory.ts'
import { memoryForwarder } from '../../packages/agent/src/ports/forwarder.memory.ts'
import { memoryProber } from '../../packages/agent/src/ports/prober.memory.ts'
import { memoryWitness } from '../../packages/agent/src/ports/witness.memory.ts'
import { cheapIdentity } from './cheap-identity.ts'
import { HostClock } from './host-clock.ts'
import type { HostOptions } from './host-options.ts'
import {
  type Drift,
  Life,
  processBootMemory,
  processClock,
  processDataPlane,
  processEngine,
  processMesh,
  processProber,
  processStorage,
  processWitness,
} from './process.ts'
import { randomFrom } from './random.ts'
import { WatchdogProcess } from './watchdog.ts'

export interface Answer {
  readonly status: number
  readonly body: unknown
  /** In its body or its header: it was done, but. */
  readonly warnings: readonly string[]
}

/** Between a failed start and the next, ms. */
const restartDelayMs = 2_000

/** Of an engine on two cores that does nothing else, ms. */
const latencyMs = {
  prepare: 5,
  create: 20,
  start: 170,
  stop: 10,
  remove: 10,
  list: 4,
  facts: 2,
  volumes: 2,
} as const satisfies Partial<Record<MemoryCall, number>>

interface Running {
  readonly life: Life
  readonly agent: Agent
  readonly api: ApiServer
}

/** A machine: its power, disk and engine outlive its agents, of which it has at most one at a time. */
export class Host {
  readonly name: string
  readonly engine: MemoryEngine
  readonly clock: HostClock
  readonly watchdog: WatchdogProcess
  readonly #kernel = memoryDataPlane()
  readonly #wireGuardKeys = memoryWireGuardKeys()
  readonly #names: MemoryNameServerProcess = {}
  readonly #bootMemory: MemoryBootMemory = memoryBootMemory()
  readonly drift: Drift = { rate: 1, wallOffsetMs: 0 }
  isFull = false
  /** When its agent last went on after it had stood still. */
  resumedAtMs = -Infinity
  /** What its last agent had decided to stop, in its record: the next one goes on with that, whatever is wanted meanwhile. */
  wasEnding: ReadonlySet<TaskId> = new Set()
  rules: readonly Rules[]
  readonly #options: HostOptions
  #identity: Identity
  #node: NodeId
  #keysMade = 0
  /** The power fails in the middle of the next write; or does so now. */
  #tears: 'next write' | 'now' | undefined
  readonly #latencyMs: Partial<Record<MemoryCall, number>> = { ...latencyMs }
  #disk: MemoryStorage
  /** What holds its disk up. */
  readonly #holds = new Set<Promise<void>>()
  #note: string | undefined
  #on = true
  #running: Running | undefined
  #lastAgent: Agent | undefined

  constructor(options: HostOptions) {
    this.name = options.name
    this.#options = options
    this.rules = options.rules ?? knownRules
    this.#identity = this.#newIdentity()
    this.#node = nodeIdOf(this.#identity.publicKey)
    this.#disk = this.#fitted(memoryStorage())
    this.engine = new MemoryEngine({
      clock: options.clock,
      node: this.node,
      latencyMs: this.#latencyMs,
      behaviour: options.behaviour,
      observed: (setup, observation) => options.onContainer(this, setup, observation),
      guestPut: (guest) => options.onGuest(this, guest),
      isBlocked: (setup) => this.watchdog.isBlocked(setup),
    })
    this.clock = new HostClock(options.clock, options.clockRate, options.upForMs)
    this.watchdog = new WatchdogProcess({
      world: options.clock,
      clock: this.clock,
      engine: this.engine,
      random: randomFrom(options.upForMs),
      settings: options.settings,
      onKill: (setup) => options.onKill(this, setup),
    })
  }

  get node(): NodeId {
    return this.#node
  }

  get isOn(): boolean {
    return this.#on
  }

  /** Undefined while no agent runs. */
  get agent(): Agent | undefined {
    return this.#running?.agent
  }

  /** The one that runs, or else the one that ran last. */
  get lastAgent(): Agent | undefined {
    return this.#lastAgent
  }

  get life(): Life | undefined {
    return this.#running?.life
  }

  get disk(): MemoryStorage {
    return this.#disk
  }

  /** Of the cluster, by its own agent. */
  get isMember(): boolean {
    return this.agent?.state().kind === 'active'
  }

  /** Nothing can be written any more, or again. */
  fillDisk(isFull: boolean): void {
    this.isFull = isFull
    this.#disk.fill(isFull)
  }

  /** Nothing gets onto the disk until what this returns is called. */
  holdDisk(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#holds.add(promise)
    return () => {
      this.#holds.delete(promise)
      resolve()
    }
  }

  /** A disk as this host's are: what is written is on its way for a while. */
  #fitted(disk: MemoryStorage): MemoryStorage {
    const { clock, random } = this.#options
    disk.fill(this.isFull)
    disk.syncTakes(async () => {
      await new Promise<void>((resolve) => clock.after(random.between(1, 4), resolve))
      for (let held = [...this.#holds]; held.length > 0; held = [...this.#holds]) await Promise.all(held)
    })
    return disk
  }

  /** What is committed is on its way to the disk while the power fails. */
  #tearIfDue(): void {
    if (this.#tears !== 'next write') return
    this.#tears = 'now'
    this.#options.onTear(this)
    this.powerOff()
  }

  /** Resolves when it has begun; it may be killed before. */
  async startAgent(): Promise<void> {
    if (!this.#on || this.#running !== undefined) return
    this.wasEnding = this.#endingTasks()
    const running = this.#boot()
    this.#running = running
    this.#lastAgent = running.agent
    // A killed agent's start never ends, and nobody waits for it.
    await running.life
      .effect(() => running.agent.start())
      .catch((error: unknown) => {
        this.#options.onFailedStart(this, error)
        running.life.kill()
        this.#options.clock.after(restartDelayMs, () => this.startAgentSoon())
      })
  }

  #endingTasks(): ReadonlySet<TaskId> {
    const last = this.#lastAgent
    const record = last?.state().kind === 'active' ? last.view().records.get(this.node) : undefined
    const isEnding = ({ desired }: TaskEntry): boolean => desired === 'shutdown' || desired === 'remove'
    return new Set([...(record?.tasks.values() ?? [])].filter(isEnding).map(({ id }) => id))
  }

  /** As the service manager of a real host does. */
  startAgentSoon(): void {
    // It ends by itself: it never rejects, and is tried again where it fails.
    void this.startAgent()
  }

  killAgent(): void {
    this.#running?.life.kill()
  }

  /** Its calls take so many times as long as they should. */
  slowEngine(factor: number): void {
    for (const [call, ms] of Object.entries(latencyMs)) this.#latencyMs[call as MemoryCall] = ms * factor
  }

  /** The power fails in the middle of the next write, of which a part gets onto the disk. */
  tearNextWrite(): void {
    this.#tears = 'next write'
  }

  powerOff(): void {
    if (!this.#on) return
    this.#on = false
    this.#options.network.cut(this.node)
    this.killAgent()
    this.watchdog.powerOff()
    this.#bootMemory.powerOff()
    this.engine.powerOff()
  }

  powerOn(): void {
    this.#tears = undefined
    if (this.#on) return
    this.#on = true
    this.#options.network.uncut(this.node)
    this.clock.restart()
    this.engine.powerOn()
    this.startAgentSoon()
  }

  /** Asks this host's agent, as `docker` would over its socket. Undefined: it died before it answered. */
  async ask(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<Answer | undefined> {
    const running = this.#running
    if (running === undefined) return undefined
    const gone = Promise.withResolvers<undefined>()
    running.life.onKill(() => gone.resolve(undefined))
    await running.life.awake()
    const { clock } = this.#options
    clock.streams += 1
    const answered = inject((req, res) => void running.api.handle(req, res), {
      method,
      url: path,
      ...(body !== undefined && { payload: body }),
    }).then(({ statusCode, payload, headers }) => {
      const told = payload === '' ? undefined : (JSON.parse(payload) as unknown)
      const { Warnings } = (told ?? {}) as { readonly Warnings?: readonly string[] | null }
      return {
        status: statusCode,
        body: told,
        warnings: [...(Warnings ?? []), ...[headers['warning'] ?? []].flat()],
      }
    })
    try {
      return await Promise.race([gone.promise, answered])
    } finally {
      clock.streams -= 1
    }
  }

  #newIdentity(): Identity {
    this.#keysMade += 1
    const seed = createHash('sha256').update(`${this.#options.random.next()} ${this.#keysMade}`).digest()
    return cheapIdentity(seed)
  }

  #randomHex(bytes: number): string {
    const drawn = `${this.#options.random.next()}`
    return createHash('shake256', { outputLength: bytes }).update(drawn).digest('hex')
  }

  #home(life: Life): Home {
    const { sabotage } = this.#options
    return {
      identity: () => this.#identity,
      openStorage: () =>
        processStorage(sabotage?.storage?.(this.#disk) ?? this.#disk, life, () => this.#tearIfDue()),
      readNote: () => this.#note,
      writeNote: (text) => {
        if (life.alive) this.#note = text
      },
      wireGuardKeys: this.#wireGuardKeys,
      damage: () => [],
      wipe: (andKey) => {
        if (!life.alive) return
        if (andKey) {
          const before = this.node
          this.#identity = this.#newIdentity()
          this.#node = nodeIdOf(this.#identity.publicKey)
          this.#options.onNewKey(this, before)
        }
        this.#disk = this.#fitted(memoryStorage())
        this.#note = undefined
      },
    }
  }

  #exclusive(life: Life): ExclusiveHost {
    const { sabotage } = this.#options
    return {
      memory: processBootMemory(this.#bootMemory, life),
      watchdog: () => {
        const watchdog = this.watchdog.client(life)
        return sabotage?.watchdog?.(watchdog) ?? watchdog
      },
      cgroup: ({ slot }) => `/moot/exclusive/${slot}`,
    }
  }

  #boot(): Running {
    const { clock: world, network, random, settings, sabotage } = this.#options
    const life = new Life()
    life.onKill(() => {
      this.#running = undefined
      // Whatever was under way towards the disk may have got there, without a word.
      const torn = this.#tears === 'now'
      this.#disk = this.#fitted(this.#disk.reopen({ landed: torn ? 1 : random.between(0, 2), torn }))
      this.#tears = undefined
      network.vanish(this.node)
    })
    const logger = pino({ level: process.env['MOOT_LOG_LEVEL'] ?? 'silent', base: { host: this.name } })
    const clock = processClock(sabotage?.clock?.(this.clock) ?? this.clock, this.drift, life)
    const agent = createAgent({
      home: this.#home(life),
      engine: () =>
        processEngine(sabotage?.engine?.(this.engine) ?? this.engine, life, {
          now: (told) =>
            this.engine.containers().find(({ observation }) => observation.container === told.container)
              ?.observation ?? told,
          onCreate: (setup) => this.#options.onCreate(this, setup),
          onStop: (container) => {
            const task = this.engine.taskOf(container)
            if (task !== undefined) this.#options.onStop(this, task)
          },
        }),
      mesh: ({ identity, gate }) => {
        const mesh = network.mesh(this.node, { gate, publicKey: identity.publicKey, clock })
        return processMesh(sabotage?.mesh?.(mesh) ?? mesh, life)
      },
      witness: processWitness(
        memoryWitness(world, () => (this.#options.reachesGateway(this) ? 'answered' : 'silent')),
        life,
      ),
      nameServer: () => memoryNameServer(this.#names),
      forwarder: () => memoryForwarder(),
      dataPlane: () => processDataPlane(this.#kernel, life),
      prober: processProber(
        memoryProber(world, (address, check) => this.#options.listenerAt(this, address, check)),
        life,
      ),
      exclusive: this.#exclusive(life),
      clock,
      logger,
      settings,
      random: () => random.next(),
      randomHex: (bytes) => this.#randomHex(bytes),
      newId: () => digestId(this.#randomHex(16)),
      agentVersion: '0.0.0',
      rules: this.rules,
      hostname: this.name,
      halt: () => {
        life.kill()
        this.#options.onHalt(this)
      },
    })
    const api = createApiServer({
      cluster: agent,
      enginePath: () => '/nonexistent/docker.sock',
      logger,
      settings,
      agentVersion: '0.0.0',
      clock,
    })
    return { life, agent, api }
  }
}
