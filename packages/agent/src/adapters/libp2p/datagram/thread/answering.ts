import type { NodeId } from '@moot/crdt-state'
import type { Defaults } from '../../../../defaults.ts'
import { encodePacket, isProven, tagOf } from '../packet.ts'
import type { Packet } from '../packet.ts'
import type { SharedCells } from '../shared-cells.ts'
import { Allowance } from './allowance.ts'
import type { KnownMember, KnownMembers } from './known-members.ts'

interface AnsweringOptions {
  readonly self: NodeId
  readonly clusterTag: string
  readonly members: KnownMembers
  readonly settings: Defaults
  readonly cells: SharedCells
  /** Somebody asks in the name of this member, and its key is not here. */
  wanted(node: NodeId): void
}

/** What members ask is answered, within bounds; all else is dropped without a word. */
export class Answering {
  readonly #options: AnsweringOptions
  readonly #tag: number
  readonly #all: Allowance

  constructor(options: AnsweringOptions) {
    this.#options = options
    this.#tag = tagOf(options.self, options.clusterTag)
    this.#all = new Allowance(options.settings.datagramAnswersMax)
  }

  /** The answer to send back to wherever the question came from, if there is one. */
  answer(bytes: Buffer, question: Packet, nowMs: number): Buffer | undefined {
    const { self, cells } = this.#options
    const asker = this.#askerOf(bytes, question, nowMs)
    if (asker?.key === undefined) return undefined
    if (!asker.isNew(question.nonce)) {
      cells.count('repeated')
      return undefined
    }
    if (!asker.answers.take(nowMs) || !this.#all.take(nowMs)) {
      cells.count('unanswered')
      return undefined
    }
    cells.count('answered')
    return encodePacket(
      { kind: 'answer', tag: this.#tag, nonce: question.nonce, age: cells.age() },
      { key: asker.key, from: self, to: asker.node },
    )
  }

  /** Several members may have one tag: then each one's key is tried. */
  #askerOf(bytes: Buffer, question: Packet, nowMs: number): KnownMember | undefined {
    const { self, members, cells } = this.#options
    let tried = false
    for (const member of members.withTag(question.tag)) {
      if (member.key === undefined) {
        this.#want(member, nowMs)
        continue
      }
      tried = true
      if (isProven(bytes, { key: member.key, from: member.node, to: self })) return member
    }
    cells.count(tried ? 'unproven' : 'unknown')
    return undefined
  }
  #want(member: KnownMember, nowMs: number): void {
    if (nowMs - member.wantedAtMs < this.#options.settings.datagramWantAgainMs) return
    member.wantedAtMs = nowMs
    this.#options.wanted(member.node)
  }
}
