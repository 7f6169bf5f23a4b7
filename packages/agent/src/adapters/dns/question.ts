import { decode, type OptAnswer } from 'dns-packet'
import type { AskedType } from '../../core/network/answering.ts'
import { type Code, codes } from './codes.ts'

/** What came, as far as it could be read. */
export type Reading =
  | Question
  /** Not a question that can be answered, but one that can be said no to. */
  | {
      readonly kind: 'wrong'
      readonly head: Head
      readonly code: Code
      readonly section: Buffer
      readonly edns?: Edns
    }
  /** No question: an answer (to answer one makes a loop), or too little or too much for one. */
  | { readonly kind: 'nothing' }

export interface Question {
  readonly kind: 'question'
  readonly head: Head
  readonly name: string
  readonly type: AskedType
  /** The question section as it came: an answer repeats each letter as it was written. */
  readonly section: Buffer
  readonly edns?: Edns
}

export interface Head {
  readonly id: number
  /** Of these an answer repeats the operation and what the asker wishes for. */
  readonly flags: number
}

/** RFC 6891. */
export interface Edns {
  /** What the asker can take over UDP. */
  readonly size: number
  readonly wantsSignatures: boolean
}

const headBytes = 12
/** A question has at most 255 bytes of name, and options. */
export const questionMaxBytes = 4_096
/** OPT, TSIG, SIG(0): there is nothing else that goes with a question. */
const additionalsMax = 4

/** Kinds of question that are operations on a zone (RFC 5936, 1035) or no record at all. */
const operations: ReadonlySet<string> = new Set(['AXFR', 'IXFR', 'MAILA', 'MAILB', 'TKEY', 'TSIG', 'OPT'])

const asked: Readonly<Record<string, AskedType>> = { A: 'A', PTR: 'PTR', SOA: 'SOA', ANY: 'ANY' }

const none: Buffer = Buffer.alloc(0)

/** Reads what anybody may have sent. Never throws. */
export function readQuestion(message: Buffer): Reading {
  if (message.length < headBytes || message.length > questionMaxBytes) return { kind: 'nothing' }
  const head: Head = { id: message.readUInt16BE(0), flags: message.readUInt16BE(2) }
  if ((head.flags & 0x8000) !== 0) return { kind: 'nothing' }
  const wrong = (code: Code, section = none, edns?: Edns): Reading => ({
    kind: 'wrong',
    head,
    code,
    section,
    ...(edns === undefined ? {} : { edns }),
  })
  if ((head.flags & 0x7800) !== 0) return wrong(codes.notImplemented)
  // One question, no more (RFC 9619) and no less; and whatever is counted here is read.
  const isOne = message.readUInt16BE(4) === 1 && message.readUInt32BE(6) === 0
  if (!isOne || message.readUInt16BE(10) > additionalsMax) return wrong(codes.malformed)
  try {
    const { questions, additionals } = decode(message)
    const question = questions?.[0]
    const section = message.subarray(headBytes, endOfQuestion(message))
    const opts = (additionals ?? []).filter((each): each is OptAnswer => each.type === 'OPT')
    const [opt] = opts
    if (question === undefined || opts.length > 1) return wrong(codes.malformed)
    const edns = opt && { size: opt.udpPayloadSize, wantsSignatures: opt.flag_do }
    if (opt !== undefined && opt.ednsVersion !== 0) return wrong(codes.badVersion, section, edns)
    const { name, type } = question
    if (question.class !== 'IN' || operations.has(type)) return wrong(codes.notImplemented, section, edns)
    return {
      kind: 'question',
      head,
      name,
      type: asked[type] ?? 'other',
      section,
      ...(edns === undefined ? {} : { edns }),
    }
  } catch {
    return wrong(codes.malformed)
  }
}

/** Its name cannot be compressed: there is nothing before it to point to. */
function endOfQuestion(message: Buffer): number {
  let at = headBytes
  for (let length = message.readUInt8(at); length !== 0; length = message.readUInt8(at)) {
    if (length > 63) throw new RangeError('a pointer in a question')
    at += 1 + length
  }
  return at + 5
}
