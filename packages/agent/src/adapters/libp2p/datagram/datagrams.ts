import { isIP } from 'node:net'
import { setImmediate } from 'node:timers'
import type { Identity, NodeId } from '@moot/crdt-state'
import type { Logger } from 'pino'
import type { Defaults } from '../../../defaults.ts'
import { Detour } from './detour.ts'
import type { Door, FromThread, ThreadMember, ToThread } from './messages.ts'
import { pairKey } from './pair-key.ts'
import { tagOf } from './packet.ts'
import type { Counts } from './shared-cells.ts'
import { Supervisor } from './supervisor.ts'

export interface DatagramsOptions {
  readonly self: NodeId
  readonly identity: Identity
  readonly clusterTag: string
  readonly settings: Defaults
  readonly logger: Logger
  readonly isMember: (node: NodeId) => boolean
  readonly publicKeyOf: (node: NodeId) => Uint8Array | undefined
  /** Where its datagrams may arrive, the likeliest first. */
  readonly doorsOf: (node: NodeId) => readonly Door[]
}

/** What came back: the time that it took, and how long ago the answering agent's main loop gave a sign of life. */
export interface DatagramAnswer {
  readonly roundTripMs: number
  readonly ageMs: number
}
/** One question that is under way. */
export interface Question {
  /** Undefined: none came in time, or it could not be sent. */
  readonly answer: Promise<DatagramAnswer | undefined>
  /** Its connection answered meanwhile: if this question has no answer, UDP may be blocked. */
  connectionAnswered(): void
}

interface Member {
  readonly entry: ThreadMember
  readonly detour: Detour
  key: Uint8Array | undefined
  /** Where it answered last. */
  door: Door | undefined
}

/** Keys that are found one after the other before whatever else waits has its turn: half a millisecond each. */
const keysPerTurn = 10
const tellIntervalMs = 60_000

/** Questions to members and answers to theirs by UDP. See design/mesh.md, "Datagrams". */
export class Datagrams {
  readonly #options: DatagramsOptions
  readonly #supervisor: Supervisor
  readonly #members = new Map<NodeId, Member>()
  readonly #pending = new Map<number, (answer: DatagramAnswer | undefined, door?: Door) => void>()
  /** Asked for by the thread, whose keys are still to be found. */
  readonly #wanted = new Set<NodeId>()
  #state: 'starting' | 'bound' | 'unbound' = 'starting'
  /** Of the addresses that can be asked: the socket's. */
  #family = 4
  #lastId = 0
  #telling: NodeJS.Timeout | undefined
  #told: Counts

  constructor(options: DatagramsOptions) {
    this.#options = options
    this.#supervisor = new Supervisor({
      settings: options.settings,
      logger: options.logger,
      started: () => this.#knowledge(),
      heard: (message) => this.#heard(message),
      ended: () => this.#ended(),
    })
    this.#told = this.counts()
  }

  start(door: Door): void {
    const { self, clusterTag } = this.#options
    this.#family = isIP(door.host)
    this.#supervisor.start({ self, clusterTag, door })
    this.#telling = setInterval(() => this.#tellDropped(), tellIntervalMs).unref()
  }
  async stop(): Promise<void> {
    clearInterval(this.#telling)
    this.#wanted.clear()
    await this.#supervisor.stop()
    this.#ended()
  }
  counts(): Counts {
    return this.#supervisor.cells.counts()
  }

  setMembers(nodes: Iterable<NodeId>): void {
    const { isMember, clusterTag, settings } = this.#options
    const present = new Set([...nodes].filter(isMember))
    let changed = false
    for (const node of this.#members.keys()) {
      if (!present.has(node)) changed = this.#members.delete(node)
    }
    for (const node of present) {
      if (this.#members.has(node)) continue
      changed = true
      const entry = { node, tag: tagOf(node, clusterTag) }
      this.#members.set(node, { entry, detour: new Detour(settings), key: undefined, door: undefined })
    }
    if (changed) this.#supervisor.tell(this.#entries())
  }
  #entries(): ToThread {
    return { kind: 'members', members: [...this.#members.values()].map(({ entry }) => entry) }
  }
  /** What a new thread is told. */
  #knowledge(): readonly ToThread[] {
    const keys: ToThread[] = []
    for (const [node, { key }] of this.#members) if (key !== undefined) keys.push({ kind: 'key', node, key })
    return [this.#entries(), ...keys]
  }

  /** Undefined where there is no asking by datagram now. */
  ask(node: NodeId, timeoutMs: number): Question | undefined {
    const { isMember, doorsOf, settings, logger } = this.#options
    const member = this.#members.get(node)
    if (this.#state !== 'bound' || member === undefined || !isMember(node)) return undefined
    if (!member.detour.isOn(performance.now()) || this.#pending.size >= settings.datagramQuestionsMax)
      return undefined
    const doors =
      member.door === undefined
        ? doorsOf(node).filter(({ host }) => isIP(host) === this.#family)
        : [member.door]
    if (doors.length === 0 || this.#keyOf(node, member) === undefined) return undefined
    const id = (this.#lastId += 1)
    const answer = new Promise<DatagramAnswer | undefined>((resolve) => {
      this.#pending.set(id, (answered, door) => {
        // One that did not answer where it last did may have moved: it is looked for everywhere.
        member.door = door
        if (answered !== undefined && member.detour.answered()) {
          logger.info({ node }, 'datagrams get through again')
        }
        resolve(answered)
      })
    })
    this.#supervisor.tell({ kind: 'ask', id, node, doors, timeoutMs })
    return {
      answer,
      connectionAnswered: () => void answer.then((answered) => answered ?? this.#missed(node, member)),
    }
  }
  #missed(node: NodeId, { detour }: Member): void {
    if (!detour.missed(performance.now())) return
    this.#options.logger.info({ node }, 'no datagram gets through; it is probed over its connection')
  }

  #keyOf(node: NodeId, member: Member): Uint8Array | undefined {
    if (member.key !== undefined) return member.key
    const { identity, clusterTag, publicKeyOf } = this.#options
    const publicKey = publicKeyOf(node)
    const key = publicKey === undefined ? undefined : pairKey(identity, publicKey, clusterTag)
    if (key === undefined) return undefined
    member.key = key
    this.#supervisor.tell({ kind: 'key', node, key })
    return key
  }
  #want(node: NodeId): void {
    this.#wanted.add(node)
    if (this.#wanted.size === 1) setImmediate(() => this.#findKeys())
  }
  #findKeys(): void {
    let left = keysPerTurn
    for (const node of this.#wanted) {
      if ((left -= 1) < 0) break
      this.#wanted.delete(node)
      const member = this.#members.get(node)
      if (member !== undefined) this.#keyOf(node, member)
    }
    if (this.#wanted.size > 0) setImmediate(() => this.#findKeys())
  }

  #heard(message: FromThread): void {
    const { logger } = this.#options
    switch (message.kind) {
      case 'bound':
        if (this.#state === 'unbound') logger.info('datagrams can be received again')
        this.#state = 'bound'
        return
      case 'unbound':
        if (this.#state !== 'unbound') {
          logger.warn(
            { why: message.why },
            'no datagrams can be received; probes go over the mesh connections, and it is tried again every minute',
          )
        }
        this.#state = 'unbound'
        return
      case 'wanted':
        this.#want(message.node)
        return
      case 'answered':
        this.#settle(message.id, message, message.door)
        return
      case 'unanswered':
        this.#settle(message.id, undefined)
    }
  }
  #settle(id: number, answer: DatagramAnswer | undefined, door?: Door): void {
    const settle = this.#pending.get(id)
    this.#pending.delete(id)
    settle?.(answer, door)
  }
  #ended(): void {
    this.#state = 'starting'
    for (const id of this.#pending.keys()) this.#settle(id, undefined)
  }

  /** Once a minute, and only if it was too much: a flood must not fill the log. */
  #tellDropped(): void {
    const before = this.#told
    const counts = this.counts()
    this.#told = counts
    if (counts.rested === before.rested && counts.unanswered === before.unanswered) return
    this.#options.logger.warn(counts, 'more datagrams came than are answered')
  }
}
