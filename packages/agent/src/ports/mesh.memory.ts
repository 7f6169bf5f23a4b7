import type { NodeId } from '@moot/crdt-state'
import { defaults } from '../defaults.ts'
import type { Clock } from './clock.ts'
import { MemoryMesh } from './mesh.memory-node.ts'
import type { Wire } from './mesh.memory-node.ts'
import type { Gate, Mesh } from './mesh.ts'

export interface MemoryNetworkOptions {
  /** Owns every delay and time limit. Without it messages arrive in the next microtasks and no time ever passes. */
  readonly clock?: Clock
}

export interface MemoryMeshOptions {
  readonly gate: Gate
  /** Its host's own, by which it waits for answers; default: the network's. */
  readonly clock?: Clock
  /** Raw public key that a join handler is shown; any bytes do. */
  readonly publicKey?: Uint8Array
  /** Default `/memory/<node>`: give another one to restart a node "on another port". */
  readonly address?: string
  readonly maxMessageBytes?: number
  /** `false` = MOOT_GOSSIP=off: nothing is published and nothing heard. */
  readonly gossip?: boolean
}

/**
 * Many meshes in one process and the faults between them. Everything happens in one fixed order: the same calls,
 * clock and random numbers give the same run.
 */
export interface MemoryNetwork {
  /** A node's mesh; asking again for the same node is a restart (the old one must be stopped or refused). */
  mesh(node: NodeId, options: MemoryMeshOptions): Mesh
  /** Only nodes of the same group reach each other; nodes named nowhere form a group of their own. */
  partition(groups: readonly (readonly NodeId[])[]): void
  /** Nothing gets from `from` to `to`. Everything here is TCP, which needs the way back too: the link is of no use. */
  block(from: NodeId, to: NodeId): void
  unblock(from: NodeId, to: NodeId): void
  /** Cable pulled or power off: silence. */
  cut(node: NodeId): void
  uncut(node: NodeId): void
  /** The node's process has stopped for a while (SIGSTOP): what is sent to it waits, and its host's kernel answers. */
  stall(node: NodeId): void
  resume(node: NodeId): void
  /** The node's process is gone, without a word. */
  vanish(node: NodeId): void
  /** The agent is dead and its host lives: everything is refused. */
  refuse(node: NodeId): void
  /** The host has left and is `now` from here on: whoever asks for `before` asks at its door. */
  rename(before: NodeId, now: NodeId): void
  /** Ends `cut`, `refuse` and blocks of this node; without a node ends all faults, drops and delays too. */
  heal(node?: NodeId): void
  /** Each message is lost with this probability, drawn from `random`. */
  drop(probability: number | ((from: NodeId, to: NodeId) => number), random: () => number): void
  /** Gossip is heard twice with this probability, drawn from `random`. */
  duplicate(probability: (from: NodeId, to: NodeId) => number, random: () => number): void
  /** Messages sent so far, lost ones too. */
  carried(): number
  /** How long a message takes; needs a clock. Unequal delays reorder gossip, never one stream. */
  delay(delayMs: (from: NodeId, to: NodeId) => number): void
}

class Network implements MemoryNetwork, Wire {
  readonly clock: Clock | undefined
  readonly #meshes = new Map<NodeId, MemoryMesh>()
  readonly #group = new Map<NodeId, number>()
  readonly #blocked = new Set<string>()
  readonly #cut = new Set<NodeId>()
  readonly #refused = new Set<NodeId>()
  readonly #renamed = new Map<NodeId, NodeId>()
  readonly #stalled = new Map<NodeId, (() => void)[]>()
  #carried = 0
  #lost: (from: NodeId, to: NodeId) => boolean = () => false
  #repeats: (from: NodeId, to: NodeId) => boolean = () => false
  #delayMs: (from: NodeId, to: NodeId) => number = () => 0

  constructor(options: MemoryNetworkOptions) {
    this.clock = options.clock
  }

  mesh(node: NodeId, options: MemoryMeshOptions): Mesh {
    const before = this.#meshes.get(node)
    if (before?.running === true && !this.#refused.has(node)) {
      throw new Error(`the mesh of ${node} still runs: stop it before it is started again`)
    }
    before?.vanish()
    this.#refused.delete(node)
    const mesh = new MemoryMesh(this, node, {
      gate: options.gate,
      publicKey: options.publicKey ?? new TextEncoder().encode(node.padEnd(32, '.').slice(0, 32)),
      address: options.address ?? `/memory/${node}`,
      maxMessageBytes: options.maxMessageBytes ?? defaults.maxMessageBytes,
      gossip: options.gossip ?? true,
      ...(options.clock && { clock: options.clock }),
    })
    this.#meshes.set(node, mesh)
    return mesh
  }

  partition(groups: readonly (readonly NodeId[])[]): void {
    this.#group.clear()
    groups.forEach((nodes, index) => {
      for (const node of nodes) this.#group.set(node, index + 1)
    })
    this.settle()
  }
  block(from: NodeId, to: NodeId): void {
    this.#blocked.add(`${from}>${to}`)
    this.settle()
  }
  unblock(from: NodeId, to: NodeId): void {
    this.#blocked.delete(`${from}>${to}`)
    this.settle()
  }
  cut(node: NodeId): void {
    this.#cut.add(node)
    this.settle()
  }
  uncut(node: NodeId): void {
    this.#cut.delete(node)
    this.settle()
  }
  stall(node: NodeId): void {
    if (!this.#stalled.has(node)) this.#stalled.set(node, [])
  }
  resume(node: NodeId): void {
    const held = this.#stalled.get(node) ?? []
    this.#stalled.delete(node)
    for (const deliver of held) deliver()
  }
  vanish(node: NodeId): void {
    this.#meshes.get(node)?.vanish()
    // What was held back for it breaks with its connections.
    this.resume(node)
  }
  refuse(node: NodeId): void {
    this.#refused.add(node)
    this.settle()
  }
  rename(before: NodeId, now: NodeId): void {
    this.#renamed.set(before, now)
  }
  heal(node?: NodeId): void {
    if (node === undefined) {
      this.#cut.clear()
      this.#refused.clear()
      this.#blocked.clear()
      this.#group.clear()
      this.#lost = () => false
      this.#delayMs = () => 0
    } else {
      this.#cut.delete(node)
      this.#refused.delete(node)
      for (const pair of this.#blocked) if (pair.split('>').includes(node)) this.#blocked.delete(pair)
    }
    this.settle()
  }
  drop(probability: number | ((from: NodeId, to: NodeId) => number), random: () => number): void {
    const of = typeof probability === 'number' ? () => probability : probability
    this.#lost = (from, to) => random() < of(from, to)
  }
  delay(delayMs: (from: NodeId, to: NodeId) => number): void {
    if (this.clock === undefined) throw new Error('a delay needs a network with a clock')
    this.#delayMs = delayMs
  }

  duplicate(probability: (from: NodeId, to: NodeId) => number, random: () => number): void {
    this.#repeats = (from, to) => {
      const likely = probability(from, to)
      return likely > 0 && random() < likely
    }
  }
  repeats(from: NodeId, to: NodeId): boolean {
    return this.#repeats(from, to)
  }

  carried(): number {
    return this.#carried
  }

  find(node: NodeId): MemoryMesh | undefined {
    return this.#meshes.get(node)
  }
  all(): Iterable<MemoryMesh> {
    return this.#meshes.values()
  }
  #wayOpen(self: NodeId, other: NodeId): boolean {
    const from = this.#now(self)
    const to = this.#now(other)
    if (this.#cut.has(from) || this.#cut.has(to)) return false
    if ((this.#group.get(from) ?? 0) !== (this.#group.get(to) ?? 0)) return false
    return this.#blocked.size === 0 || !this.#blocked.has(`${from}>${to}`)
  }
  #now(node: NodeId): NodeId {
    const renamed = this.#renamed.get(node)
    return renamed === undefined ? node : this.#now(renamed)
  }
  hostAnswers(from: NodeId, to: NodeId): boolean {
    return this.#meshes.has(to) && this.#wayOpen(from, to) && this.#wayOpen(to, from)
  }
  #agentRuns(node: NodeId): boolean {
    return this.#meshes.get(node)?.running === true && !this.#refused.has(node)
  }
  reaches(from: NodeId, to: NodeId): boolean {
    return this.hostAnswers(from, to) && this.#agentRuns(from) && this.#agentRuns(to)
  }

  isStalled(node: NodeId): boolean {
    return this.#stalled.has(node)
  }
  knock(from: NodeId, to: NodeId, answered: () => void): void {
    const back = (): void => {
      if (this.hostAnswers(to, from)) answered()
    }
    const there = (): void => {
      if (this.hostAnswers(from, to)) this.#send(to, from, back, () => undefined)
    }
    this.#send(from, to, there, () => undefined)
  }

  carry(from: NodeId, to: NodeId, arrived: () => void, lost: () => void): void {
    const target = this.#meshes.get(to)
    const deliver = (): void => {
      const held = this.#stalled.get(to)
      if (held !== undefined) {
        held.push(deliver)
        return
      }
      // The same process as when it was sent: a restarted one has none of its predecessor's connections.
      if (this.#meshes.get(to) === target && this.reaches(from, to)) arrived()
      else lost()
    }
    this.#send(from, to, deliver, lost)
  }
  #send(from: NodeId, to: NodeId, deliver: () => void, lost: () => void): void {
    this.#carried += 1
    const land = this.#lost(from, to) ? lost : deliver
    if (this.clock === undefined) queueMicrotask(land)
    else this.clock.after(this.#delayMs(from, to), land)
  }

  settle(): void {
    const meshes = [...this.#meshes.values()]
    for (const mesh of meshes) mesh.dropBroken()
    for (const mesh of meshes) mesh.connectWanted()
  }
}

/**
 * An in-memory network, the twin of `adapters/libp2p`.
 *
 *     const network = memoryNetwork()
 *     const mesh = network.mesh(node, { gate })
 *     await mesh.start()
 */
export function memoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  return new Network(options)
}
