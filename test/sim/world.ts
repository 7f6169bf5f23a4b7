import type { NodeId, TaskId } from '@moot/crdt-state'
import type {
  ContainerObservation,
  GuestObservation,
  TaskSetup,
} from '../../packages/agent/src/core/reconcile/actions.ts'
import { defaults, type Defaults } from '../../packages/agent/src/defaults.ts'
import { memoryClock, type MemoryClock } from '../../packages/agent/src/ports/clock.memory.ts'
import type { MemoryBehaviour } from '../../packages/agent/src/ports/engine.memory.ts'
import { memoryNetwork, type MemoryNetwork } from '../../packages/agent/src/ports/mesh.memory.ts'
import type { Act } from './acts.ts'
import { Contracts } from './contracts.ts'
import { Host } from './host.ts'
import type { Sabotage } from './sabotage.ts'
import { Listeners } from './listeners.ts'
import { randomFrom, type Random } from './random.ts'

/** What a link does to each message in one direction, beside being cut. */
interface Weather {
  loss: number
  /** How much of the gossip is heard twice. */
  repeat: number
  /** Added to the network's own delay. */
  slowMs: number
}

export interface WorldOptions {
  readonly seed: number
  readonly hosts: number
  /** How many of them are one cluster from the beginning; default all. */
  readonly founders?: number
  readonly settings?: Partial<Defaults>
  /** How fast each host's own clock runs; default: as fast as time. */
  readonly clockRates?: readonly number[] | undefined
  /** A rule that is broken on purpose, to see that its checker tells. */
  readonly sabotage?: Sabotage | undefined
}

/** Where all cables lead to, and a host asks whether it is cut off. */
export const gateway = 'gateway'
type Gateway = typeof gateway

/** What a disk did not take is taken with the next comparison, ms. */
const catchUpMs = 10_000

/** After a fault has ended, its consequences are undone within this time, ms. */
const aftermathMs = 60_000

/** Whole agents on machines, cables and a clock of our own. Everything that happens follows from the seed. */
export class World {
  readonly seed: number
  readonly clock: MemoryClock = memoryClock()
  readonly network: MemoryNetwork
  readonly hosts: Host[] = []
  readonly settings: Defaults
  readonly random: Random
  /** Hosts of which a stored object was damaged, or torn. */
  readonly rotten = new Set<Host>()
  readonly listeners = new Listeners(() => this.nowMs)
  readonly contracts = new Contracts()
  /** Kinds of faults and deeds that came to something. */
  readonly met = new Set<Act['kind']>()
  /** When people last said something about a service of that name. */
  readonly askedAboutMs = new Map<string, number>()
  /** Agents that took themselves for a clone of another: here none is. */
  readonly halted: string[] = []
  readonly events: { readonly atMs: number; readonly line: string }[] = []
  readonly #options: WorldOptions
  /** Not the hosts' stream: so that what else a seed brings stays what it was. */
  readonly #clockChance: Random
  /** By who sends, then by who hears: asked three times for each message. */
  readonly #weather = new Map<NodeId, Map<NodeId, Weather>>()
  /** What does not get from a host to others; as often as it is blocked. */
  readonly #blocks = new Map<Host, readonly (Host | Gateway)[]>()
  readonly #broken = new Map<string, number>()
  #disturbedUntilMs = 0
  #impairedUntilMs = 0
  #deafUntilMs = 0
  readonly #containerListeners: ((
    host: Host,
    setup: TaskSetup,
    observation: ContainerObservation,
  ) => void)[] = []
  readonly #stopListeners: ((host: Host, task: TaskId) => void)[] = []
  readonly #createListeners: ((host: Host, setup: TaskSetup) => void)[] = []
  readonly #guestListeners: ((host: Host, guest: GuestObservation) => void)[] = []

  private constructor(options: WorldOptions) {
    this.seed = options.seed
    this.#options = options
    this.#clockChance = randomFrom(options.seed ^ 0xc10c)
    this.clock.streams = 0
    this.settings = { ...defaults, ...options.settings }
    // Not the plan's stream: what is left out of a plan must not change what happens to hosts.
    this.random = randomFrom(options.seed ^ 0x3a1e)
    const chance = randomFrom(options.seed ^ 0x5eed)
    this.network = memoryNetwork({ clock: this.clock })
    this.network.drop(
      (from, to) => this.weather(from, to).loss,
      () => chance.next(),
    )
    this.network.duplicate(
      (from, to) => this.weather(from, to).repeat,
      () => chance.next(),
    )
    this.network.delay((from, to) => chance.between(1, 4) + this.weather(from, to).slowMs * chance.next())
    for (let number = 1; number <= options.hosts; number += 1) this.#add(`host${number}`)
  }

  /** A cluster of so many hosts, formed with tokens. */
  static async of(options: WorldOptions): Promise<World> {
    const world = new World(options)
    for (const host of world.hosts) await world.during(host.startAgent())
    const [first, ...others] = world.hosts.slice(0, options.founders)
    const author = { node: 'sim', client: 'sim', atMs: 0 }
    await world.during(first!.agent!.init({ author }))
    for (const host of others) {
      const { token } = await world.during(first!.agent!.createToken({ ttlMs: 60_000 }))
      await world.during(host.agent!.join(token, { author }))
    }
    await world.pass(2_000)
    return world
  }

  host(index: number): Host {
    const host = this.hosts[index % this.hosts.length]
    if (host === undefined) throw new Error('a world without hosts')
    return host
  }

  nameOf(node: NodeId): string {
    return this.hosts.find((host) => host.node === node)?.name ?? node
  }

  get nowMs(): number {
    return this.clock.monotonicMs()
  }

  pass(ms: number): Promise<void> {
    return this.clock.advance(ms)
  }

  /** Lets time pass while something is under way. */
  async during<T>(work: Promise<T>): Promise<T> {
    const state = { isOver: false }
    const done = work.finally(() => {
      state.isOver = true
    })
    done.catch(() => undefined)
    for (let rounds = 0; rounds < 10_000 && !state.isOver; rounds++) await this.clock.advance(20)
    return done
  }

  /** What happens to messages from one host to another. */
  weather(from: NodeId, to: NodeId): Weather {
    let ofSender = this.#weather.get(from)
    if (ofSender === undefined) {
      ofSender = new Map()
      this.#weather.set(from, ofSender)
    }
    let weather = ofSender.get(to)
    if (weather === undefined) {
      weather = { loss: 0, repeat: 0, slowMs: 0 }
      ofSender.set(to, weather)
    }
    return weather
  }

  /** Nothing gets from one host to the other until what this returns was called, for each call. */
  block(from: Host, to: Host | Gateway): () => void {
    const blocked = this.#blocks.get(from) ?? []
    this.#blocks.set(from, [...blocked, to])
    if (to !== gateway) this.network.block(from.node, to.node)
    return () => {
      const left = [...(this.#blocks.get(from) ?? [])]
      left.splice(left.indexOf(to), 1)
      this.#blocks.set(from, left)
      if (to !== gateway && !left.includes(to)) this.network.unblock(from.node, to.node)
    }
  }

  reachesGateway(host: Host): boolean {
    return host.isOn && this.#blocks.get(host)?.includes(gateway) !== true
  }

  /** Its cables are the same as before. */
  #rewire(host: Host, before: NodeId): void {
    this.network.rename(before, host.node)
    for (const [from, blocked] of this.#blocks) {
      for (const to of blocked) {
        if (to !== gateway && (from === host || to === host)) this.network.block(from.node, to.node)
      }
    }
    const ofSender = this.#weather.get(before)
    if (ofSender !== undefined) this.#weather.set(host.node, ofSender)
    for (const of of this.#weather.values()) {
      const weather = of.get(before)
      if (weather !== undefined) of.set(host.node, weather)
    }
  }

  /** Nothing stands between these two hosts, in either direction, and both are on. */
  reaches(from: Host, to: Host): boolean {
    const isOpen = (a: Host, b: Host): boolean => this.#blocks.get(a)?.includes(b) !== true
    return from.isOn && to.isOn && isOpen(from, to) && isOpen(to, from)
  }

  /** Calls `fix` then; of several that are under way at one place, with the last of them. */
  endAfter(forMs: number, place: string | undefined, fix: () => void): void {
    if (place === undefined) {
      this.clock.after(forMs, fix)
      return
    }
    this.#broken.set(place, (this.#broken.get(place) ?? 0) + 1)
    this.clock.after(forMs, () => {
      const left = (this.#broken.get(place) ?? 1) - 1
      this.#broken.set(place, left)
      if (left === 0) fix()
    })
  }

  /** Something is broken for so long that makes hosts take each other for dead. */
  disturb(forMs: number): void {
    this.#disturbedUntilMs = Math.max(this.#disturbedUntilMs, this.nowMs + forMs + aftermathMs)
  }

  /** Some disk takes nothing for so long: what others write does not get onto it. */
  impair(forMs: number): void {
    this.#impairedUntilMs = Math.max(this.#impairedUntilMs, this.nowMs + forMs + catchUpMs)
  }

  /** Some agent stands still for so long: it hears nothing, and renews no lease. Nobody takes its host for dead. */
  deafen(forMs: number): void {
    this.#deafUntilMs = Math.max(this.#deafUntilMs, this.nowMs + forMs + aftermathMs)
  }

  /** Nothing stands in the way of what is written. */
  get isOpen(): boolean {
    return this.isPeaceful && !this.isImpaired && this.isHeard
  }

  /** No agent has stood still for long. */
  get isHeard(): boolean {
    return this.nowMs > this.#deafUntilMs
  }

  /** Some disk takes nothing, or has not for long again. */
  get isImpaired(): boolean {
    return this.nowMs <= this.#impairedUntilMs
  }

  /** Nobody has had a reason for long to take anybody for dead. */
  get isPeaceful(): boolean {
    return this.nowMs > this.#disturbedUntilMs
  }

  /** Hosts of the cluster, by their own agents. */
  members(): readonly Host[] {
    return this.hosts.filter((host) => host.isMember)
  }

  /** Some stored object of this host cannot be read any more. */
  rot(host: Host, which: number): void {
    const objects = host.disk.objects()
    const found = objects[which % Math.max(1, objects.length)]
    if (found === undefined) return
    host.disk.corrupt(found.table, found.key)
    this.rotten.add(host)
    this.met.add('bit rot')
    this.tell(`  ${found.table}/${found.key} of ${host.name} is damaged`)
  }

  /** All that happened, a line each, with its time in seconds. */
  get story(): readonly string[] {
    return this.events.map(({ atMs, line }) => `${(atMs / 1000).toFixed(3).padStart(8)} ${line}`)
  }

  tell(line: string): void {
    this.events.push({ atMs: this.nowMs, line })
  }

  onContainer(listener: (host: Host, setup: TaskSetup, observation: ContainerObservation) => void): void {
    this.#containerListeners.push(listener)
  }

  /** An agent asks its engine for a container. */
  onCreate(listener: (host: Host, setup: TaskSetup) => void): void {
    this.#createListeners.push(listener)
  }

  onGuest(listener: (host: Host, guest: GuestObservation) => void): void {
    this.#guestListeners.push(listener)
  }

  onStop(listener: (host: Host, task: TaskId) => void): void {
    this.#stopListeners.push(listener)
  }

  #add(name: string): Host {
    const host = new Host({
      name,
      clock: this.clock,
      clockRate: this.#options.clockRates?.[this.hosts.length] ?? 1,
      upForMs: this.#clockChance.between(0, 1_000_000),
      network: this.network,
      random: randomFrom(this.random.between(0, 2 ** 31)),
      settings: this.settings,
      behaviour: (setup) => behaviourOf(setup.spec.TaskTemplate.ContainerSpec.Image),
      sabotage: this.#options.sabotage,
      onContainer: (at, setup, observation) => {
        const { state, health } = observation
        this.listeners.observed(observation)
        this.tell(
          `  ${at.name}: ${setup.service.name}.${setup.task.slot} ${state}${health === 'none' ? '' : ` ${health}`}`,
        )
        for (const listener of this.#containerListeners) listener(at, setup, observation)
      },
      onFailedStart: (at, error) => {
        this.tell(
          `  the agent of ${at.name} cannot start: ${error instanceof Error ? error.message : String(error)}`,
        )
      },
      listenerAt: (at, address, check) => this.listeners.at(at, address, check),
      reachesGateway: (at) => this.reachesGateway(at),
      onNewKey: (at, before) => this.#rewire(at, before),
      onTear: (at) => {
        this.met.add('torn write')
        this.rotten.add(at)
        this.tell(`  the power of ${at.name} fails in the middle of a write`)
      },
      onHalt: (at) => {
        this.tell(`  the agent of ${at.name} ends itself`)
        this.halted.push(`the agent of ${at.name} ended itself`)
      },
      onCreate: (at, setup) => {
        for (const listener of this.#createListeners) listener(at, setup)
      },
      onGuest: (at, guest) => {
        for (const listener of this.#guestListeners) listener(at, guest)
      },
      onKill: (at, setup) => {
        this.tell(`  the watchdog of ${at.name} kills ${setup.service.name}.${setup.task.slot}`)
      },
      onStop: (at, task) => {
        for (const listener of this.#stopListeners) listener(at, task)
      },
    })
    this.hosts.push(host)
    return host
  }
}

/** By the image's tag, as the test images of the real beds. */
function behaviourOf(image: string): MemoryBehaviour {
  const tag = image.split(':')[1] ?? ''
  if (tag.startsWith('bad')) return { healthyAfterMs: 1_000, exitAfterMs: 300, exitCode: 1 }
  if (tag.startsWith('stuck')) return { healthyAfterMs: 'never', unhealthyAfterMs: 45_000 }
  if (tag.startsWith('sick')) return { healthyAfterMs: 'never', unhealthyAfterMs: 3_000 }
  return { healthyAfterMs: 1_000 }
}
