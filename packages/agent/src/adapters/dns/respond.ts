import { answerName } from '../../core/network/answering.ts'
import type { NameIndex } from '../../core/network/name-index.ts'
import type { Address } from '../../core/network/plane.ts'
import type { NameServerCounts } from '../../ports/name-server.ts'
import {
  type Reply,
  writeAddresses,
  writeAuthority,
  writeCode,
  writeNothing,
  writePointer,
} from './answer.ts'
import { codes } from './codes.ts'
import { type Question, readQuestion } from './question.ts'

export type Outcome = keyof NameServerCounts

/** What is done with what came. */
export type Response =
  | {
      readonly kind: 'answer'
      readonly bytes: Buffer
      readonly outcome: Outcome
      readonly isTruncated?: boolean
    }
  | { readonly kind: 'forward'; readonly reply: Reply; readonly nameservers: readonly Address[] }
  /** Nothing is said. */
  | { readonly kind: 'silence' }

export interface Circumstances {
  /** The address that it came from. */
  readonly asker: Address
  readonly transport: 'udp' | 'tcp'
  readonly index: NameIndex
  /** In [0, 1), drawn anew at each call. */
  readonly random: () => number
}

/** One message and its answer. Pure, and never longer than what came where the asker is not known. */
export function respond(message: Buffer, circumstances: Circumstances): Response {
  const { asker: address, transport, index } = circumstances
  const reading = readQuestion(message)
  if (reading.kind === 'nothing') return { kind: 'silence' }
  const reply: Reply = { ...reading, transport }
  const asker = index.askerAt(address)
  if (asker === undefined) {
    // Its address may be forged: what cannot be read is not even answered, and what is answered is not longer than what came.
    if (reading.kind === 'wrong') return { kind: 'silence' }
    return { kind: 'answer', bytes: writeCode(reply, codes.refused), outcome: 'refused' }
  }
  if (reading.kind === 'wrong') {
    const outcome = reading.code === codes.malformed ? 'malformed' : 'unsupported'
    return { kind: 'answer', bytes: writeCode(reply, reading.code), outcome }
  }
  return answered(reading, reply, answerName(index, asker, reading, circumstances.random))
}

function answered(question: Question, reply: Reply, answer: ReturnType<typeof answerName>): Response {
  switch (answer.kind) {
    case 'addresses': {
      const { bytes, isTruncated } = writeAddresses(reply, answer.addresses)
      return { kind: 'answer', bytes, outcome: 'answered', isTruncated }
    }
    case 'pointer':
      return { kind: 'answer', bytes: writePointer(reply, question.name, answer.name), outcome: 'answered' }
    case 'authority':
      return { kind: 'answer', bytes: writeAuthority(reply), outcome: 'answered' }
    case 'empty':
      return { kind: 'answer', bytes: writeNothing(reply, codes.ok, answer.zone), outcome: 'empty' }
    case 'unknown':
      return { kind: 'answer', bytes: writeNothing(reply, codes.noSuchName, answer.zone), outcome: 'unknown' }
    case 'refused':
      return { kind: 'answer', bytes: writeCode(reply, codes.refused), outcome: 'refused' }
    case 'forward':
      return { kind: 'forward', reply, nameservers: answer.nameservers }
  }
}
