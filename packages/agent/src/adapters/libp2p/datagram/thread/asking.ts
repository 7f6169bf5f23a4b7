import { randomBytes } from 'node:crypto'
import type { NodeId } from '@moot/crdt-state'
import type { Defaults } from '../../../../defaults.ts'
import type { Door } from '../messages.ts'
import { ageUnitMs, encodePacket, isProven, tagOf } from '../packet.ts'
import type { Packet } from '../packet.ts'
import type { SharedCells } from '../shared-cells.ts'
import type { KnownMember, KnownMembers } from './known-members.ts'

interface AskingOptions {
  readonly self: NodeId
  readonly clusterTag: string
  readonly members: KnownMembers
  readonly settings: Defaults
  readonly cells: SharedCells
}

/** One datagram of a question: each door has its own, so that the answer says which way it went. */
interface Outstanding {
  readonly id: number
  readonly member: KnownMember
  readonly door: Door
  readonly sentAtMs: number
}
export interface Answered {
  readonly id: number
  readonly door: Door
  readonly roundTripMs: number
  readonly ageMs: number
}

/** This node's own questions, each until its first answer or its time limit. */
export class Asking {
  readonly #options: AskingOptions
  readonly #tag: number
  readonly #outstanding = new Map<bigint, Outstanding>()
  readonly #questions = new Map<number, readonly bigint[]>()

  constructor(options: AskingOptions) {
    this.#options = options
    this.#tag = tagOf(options.self, options.clusterTag)
  }

  /** What to send where; nothing if its key is not here or too much is being asked. */
  ask(
    id: number,
    node: NodeId,
    doors: readonly Door[],
    nowMs: number,
  ): readonly { readonly door: Door; readonly bytes: Buffer }[] {
    const { self, members, settings } = this.#options
    const member = members.get(node)
    const key = member?.key
    if (member === undefined || key === undefined) return []
    if (this.#questions.size >= settings.datagramQuestionsMax) return []
    const draws = doors.slice(0, settings.datagramDoorsMax).map((door) => ({
      door,
      nonce: randomBytes(8).readBigUInt64BE(),
    }))
    this.#questions.set(
      id,
      draws.map(({ nonce }) => nonce),
    )
    return draws.map(({ door, nonce }) => {
      this.#outstanding.set(nonce, { id, member, door, sentAtMs: nowMs })
      return {
        door,
        bytes: encodePacket(
          { kind: 'question', tag: this.#tag, nonce, age: 0 },
          { key, from: self, to: node },
        ),
      }
    })
  }

  /** Wherever it comes from (a host with several addresses answers from any): its nonce and its key say what it is. */
  hear(bytes: Buffer, answer: Packet, nowMs: number): Answered | undefined {
    const { self, members, cells } = this.#options
    const asked = this.#outstanding.get(answer.nonce)
    const key = asked === undefined ? undefined : members.get(asked.member.node)?.key
    if (asked === undefined || key === undefined) {
      cells.count('repeated')
      return undefined
    }
    const { id, member, door, sentAtMs } = asked
    if (answer.tag !== member.tag || !isProven(bytes, { key, from: member.node, to: self })) {
      cells.count('unproven')
      return undefined
    }
    this.end(id)
    return { id, door, roundTripMs: nowMs - sentAtMs, ageMs: answer.age * ageUnitMs }
  }

  /** False if it had its answer. */
  end(id: number): boolean {
    for (const nonce of this.#questions.get(id) ?? []) this.#outstanding.delete(nonce)
    return this.#questions.delete(id)
  }
}
