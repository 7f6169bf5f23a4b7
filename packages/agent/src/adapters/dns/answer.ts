import {
  type Answer,
  AUTHORITATIVE_ANSWER,
  encode,
  RECURSION_AVAILABLE,
  type SoaAnswer,
  TRUNCATED_RESPONSE,
} from 'dns-packet'
import { nameDomain } from '../../core/network/answering.ts'
import type { Address } from '../../core/network/plane.ts'
import { type Code, codes } from './codes.ts'
import type { Edns, Head } from './question.ts'

/** Changes are known within a second, so nothing is to be remembered for longer. */
const ttlSeconds = 1

/** What an answer repeats of its question: the operation, RD and CD. */
const repeatedFlags = 0x7910

/** Of a record of an address whose name is a pointer: name, type, class, TTL, length, address. */
const addressBytes = 16

/** Most packets of 1,232 bytes go through everything unbroken (DNS Flag Day 2020). */
export const udpMaxBytes = 1_232
const plainMaxBytes = 512
export const tcpMaxBytes = 65_535

/** What goes with every answer to one question. */
export interface Reply {
  readonly head: Head
  readonly section: Buffer
  readonly edns?: Edns
  readonly transport: 'udp' | 'tcp'
}

export interface Written {
  readonly bytes: Buffer
  readonly isTruncated: boolean
}

/** How much an asker takes of what others answer. */
export function limitOf(transport: 'udp' | 'tcp', edns: Edns | undefined): number {
  return transport === 'tcp' ? tcpMaxBytes : Math.max(plainMaxBytes, edns?.size ?? 0)
}

export function writeAddresses(reply: Reply, addresses: readonly Address[]): Written {
  const limit = Math.min(
    limitOf(reply.transport, reply.edns),
    reply.transport === 'tcp' ? tcpMaxBytes : udpMaxBytes,
  )
  const room = limit - write(reply, codes.ok, AUTHORITATIVE_ANSWER).length
  const fitting = addresses.slice(0, Math.floor(room / addressBytes))
  // Whoever cannot come back over TCP has some of them, and each time others.
  const isTruncated = fitting.length < addresses.length && reply.transport === 'udp'
  const flags = AUTHORITATIVE_ANSWER | (isTruncated ? TRUNCATED_RESPONSE : 0)
  return { bytes: write(reply, codes.ok, flags, { addresses: fitting }), isTruncated }
}

export function writePointer(reply: Reply, questionName: string, name: string): Buffer {
  const answer: Answer = { type: 'PTR', name: questionName, class: 'IN', ttl: ttlSeconds, data: name }
  return write(reply, codes.ok, AUTHORITATIVE_ANSWER, { answer })
}

export function writeAuthority(reply: Reply): Buffer {
  return write(reply, codes.ok, AUTHORITATIVE_ANSWER, { answer: authority(nameDomain) })
}

/** Nothing of that type, or no such name: both say of which zone, and for how long that may be believed (RFC 2308). */
export function writeNothing(
  reply: Reply,
  code: typeof codes.ok | typeof codes.noSuchName,
  zone: string,
): Buffer {
  return write(reply, code, AUTHORITATIVE_ANSWER, { authority: authority(zone) })
}

export function writeCode(reply: Reply, code: Code): Buffer {
  return write(reply, code, 0)
}

/** A foreign answer that is too long for its asker, who comes back over TCP. */
export function writeTruncated(reply: Reply): Buffer {
  return write(reply, codes.ok, TRUNCATED_RESPONSE)
}

interface Content {
  readonly addresses?: readonly Address[]
  readonly answer?: Answer
  readonly authority?: SoaAnswer
}

function write({ head, section, edns }: Reply, code: Code, flags: number, content: Content = {}): Buffer {
  const { addresses = [], answer } = content
  const rest = encode({
    id: head.id,
    type: 'response',
    flags: (head.flags & repeatedFlags) | RECURSION_AVAILABLE | flags | (code & 0xf),
    answers: answer === undefined ? [] : [answer],
    authorities: content.authority === undefined ? [] : [content.authority],
    additionals: edns === undefined ? [] : [optRecord(edns, code)],
  })
  // The library would write a question anew, and each name in full: there would be room for 12 addresses, not for 29.
  rest.writeUInt16BE(section.length === 0 ? 0 : 1, 4)
  if (addresses.length > 0) rest.writeUInt16BE(addresses.length, 6)
  return Buffer.concat([rest.subarray(0, 12), section, addressRecords(addresses), rest.subarray(12)])
}

/** Each with a pointer to the question's name (RFC 1035, 4.1.4). */
function addressRecords(addresses: readonly Address[]): Buffer {
  const records = Buffer.alloc(addresses.length * addressBytes)
  for (const [index, address] of addresses.entries()) {
    let at = index * addressBytes
    at = records.writeUInt16BE(0xc00c, at)
    at = records.writeUInt32BE(0x0001_0001, at)
    at = records.writeUInt32BE(ttlSeconds, at)
    at = records.writeUInt16BE(4, at)
    for (const part of address.split('.')) at = records.writeUInt8(Number(part), at)
  }
  return records
}

function optRecord(edns: Edns, code: Code): Answer {
  return {
    type: 'OPT',
    name: '.',
    udpPayloadSize: udpMaxBytes,
    extendedRcode: code >> 4,
    ednsVersion: 0,
    flags: edns.wantsSignatures ? 0x8000 : 0,
    flag_do: edns.wantsSignatures,
    options: [],
  }
}

function authority(zone: string): SoaAnswer {
  return {
    type: 'SOA',
    name: zone,
    class: 'IN',
    ttl: ttlSeconds,
    data: {
      mname: `ns.${nameDomain}`,
      rname: `nobody.${nameDomain}`,
      // Nobody copies this zone.
      serial: 1,
      refresh: 3_600,
      retry: 600,
      expire: 86_400,
      minimum: ttlSeconds,
    },
  }
}
