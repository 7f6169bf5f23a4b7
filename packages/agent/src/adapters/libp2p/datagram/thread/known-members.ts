import type { KeyObject } from 'node:crypto'
import type { NodeId } from '@moot/crdt-state'
import type { ThreadMember } from '../messages.ts'
import { Allowance } from './allowance.ts'

/** Questions of one member that are told from new ones: six seconds of as many as it may have answered. */
const rememberedNonces = 300

export class KnownMember {
  readonly node: NodeId
  readonly tag: number
  readonly answers: Allowance
  key: KeyObject | undefined
  /** When the main thread was asked for its key. */
  wantedAtMs = -Infinity
  #nonces: BigUint64Array | undefined
  #next = 0

  constructor({ node, tag }: ThreadMember, answersPerSecond: number) {
    this.node = node
    this.tag = tag
    this.answers = new Allowance(answersPerSecond)
  }

  /** Remembers it, the oldest one being forgotten; false if it came before. */
  isNew(nonce: bigint): boolean {
    this.#nonces ??= new BigUint64Array(rememberedNonces)
    if (this.#nonces.includes(nonce)) return false
    this.#nonces[this.#next] = nonce
    this.#next = (this.#next + 1) % rememberedNonces
    return true
  }
}

/** Whom this node knows, by node and by the tag that datagrams carry. */
export class KnownMembers {
  readonly #answersPerSecond: number
  #nodes = new Map<NodeId, KnownMember>()
  #tags = new Map<number, KnownMember[]>()

  constructor(answersPerSecond: number) {
    this.#answersPerSecond = answersPerSecond
  }

  /** Whoever is missing is forgotten, its key too. */
  replace(members: readonly ThreadMember[]): void {
    const before = this.#nodes
    this.#nodes = new Map()
    this.#tags = new Map()
    for (const member of members) {
      const known = before.get(member.node) ?? new KnownMember(member, this.#answersPerSecond)
      this.#nodes.set(known.node, known)
      const sharing = this.#tags.get(known.tag)
      if (sharing === undefined) this.#tags.set(known.tag, [known])
      else sharing.push(known)
    }
  }
  get(node: NodeId): KnownMember | undefined {
    return this.#nodes.get(node)
  }
  withTag(tag: number): readonly KnownMember[] {
    return this.#tags.get(tag) ?? []
  }
}
