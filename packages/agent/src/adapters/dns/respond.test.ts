import { decode, encode, type Packet } from 'dns-packet'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ResourceId } from '@moot/crdt-state'
import { NameIndex } from '../../core/network/name-index.ts'
import { respond, type Response } from './respond.ts'

const id = 'front' as ResourceId
const many = Array.from({ length: 200 }, (_, index) => `10.128.1.${index}`)
const index = NameIndex.of({
  networks: [
    {
      id,
      subnet: '10.128.0.0/18',
      isInternal: false,
      names: {
        web: { addresses: ['10.128.0.2'], local: 0 },
        'tasks.web': { addresses: many, local: 0 },
        few: { addresses: many.slice(0, 29), local: 0 },
      },
      reverse: { '10.128.0.2': 'web', '10.128.0.3': `${'x'.repeat(64)}.y`, '10.128.0.4': 'a..b' },
    },
  ],
  clients: [{ addresses: ['10.128.0.17'], networks: [id], nameservers: ['192.0.2.53'] }],
})

interface Asking {
  readonly from?: string
  readonly transport?: 'udp' | 'tcp'
}

function send(message: Buffer, { from = '10.128.0.17', transport = 'udp' }: Asking = {}): Response {
  return respond(message, { asker: from, transport, index, random: Math.random })
}

function query(name: string, packet: Packet = {}, type = 'A'): Buffer {
  const questions = [{ name, type: type as 'A', class: 'IN' as const }]
  return encode({ type: 'query', id: 4_711, flags: 0x0100, questions, ...packet })
}

function answerTo(message: Buffer, asking?: Asking): Buffer {
  const response = send(message, asking)
  if (response.kind !== 'answer') throw new Error(`no answer, but ${response.kind}`)
  return response.bytes
}

function codeOf(bytes: Buffer): number {
  return bytes.readUInt16BE(2) & 0xf
}

const opt = (size: number, more: object = {}): Packet => ({
  additionals: [
    {
      type: 'OPT',
      name: '.',
      udpPayloadSize: size,
      extendedRcode: 0,
      ednsVersion: 0,
      flags: 0,
      flag_do: false,
      options: [],
      ...more,
    },
  ],
})

describe('an answer', () => {
  it('repeats the id, the wish for recursion and each letter of the question', () => {
    const answer = decode(answerTo(query('wEb.Moot.internal')))
    expect(answer).toMatchObject({
      id: 4_711,
      type: 'response',
      flag_aa: true,
      flag_rd: true,
      flag_ra: true,
      questions: [{ name: 'wEb.Moot.internal', type: 'A', class: 'IN' }],
      answers: [{ name: 'wEb.Moot.internal', type: 'A', ttl: 1, data: '10.128.0.2' }],
      additionals: [],
    })
  })

  it('that there is nothing carries an SOA whose name is above the question’s', () => {
    const soa = { type: 'SOA', ttl: 1, data: { minimum: 1 } }
    const empty = answerTo(query('web', {}, 'AAAA'))
    expect([codeOf(empty), decode(empty).authorities]).toMatchObject([0, [{ ...soa, name: 'web' }]])
    const unknown = answerTo(query('nobody.moot.internal'))
    expect([codeOf(unknown), decode(unknown).authorities]).toMatchObject([
      3,
      [{ ...soa, name: 'moot.internal' }],
    ])
  })

  it('of an address is a name that leads back to it', () => {
    const answer = decode(answerTo(query('2.0.128.10.in-addr.arpa', {}, 'PTR')))
    expect(answer.answers).toMatchObject([{ type: 'PTR', data: 'web.moot.internal' }])
  })

  it.each(['3', '4'])('is never a name that cannot be written (%s)', (last) => {
    expect(codeOf(answerTo(query(`${last}.0.128.10.in-addr.arpa`, {}, 'PTR')))).toBe(3)
  })

  it('of the domain’s beginning is its SOA', () => {
    const answer = decode(answerTo(query('moot.internal', {}, 'SOA')))
    expect(answer.answers).toMatchObject([{ type: 'SOA', name: 'moot.internal' }])
  })
})

describe('sizes', () => {
  it('29 addresses fit into 512 bytes', () => {
    const bytes = answerTo(query('few'))
    expect(bytes.length).toBeLessThanOrEqual(512)
    expect(decode(bytes)).toMatchObject({ flag_tc: false, answers: { length: 29 } })
  })

  it('what does not fit is cut and says so; each time others are in it', () => {
    const seen = new Set<string>()
    for (let round = 0; round < 50; round++) {
      const bytes = answerTo(query('tasks.web'))
      expect(bytes.length).toBeLessThanOrEqual(512)
      const answer = decode(bytes)
      expect(answer.flag_tc).toBe(true)
      for (const each of answer.answers ?? []) if (each.type === 'A') seen.add(each.data)
    }
    expect(seen.size).toBeGreaterThan(150)
  })

  it.each([
    [100, 512],
    [800, 800],
    [4_096, 1_232],
  ])('EDNS: of %i bytes %i are used, and OPT is answered with OPT', (said, used) => {
    const bytes = answerTo(query('tasks.web', opt(said, { flags: 0x8000 })))
    expect(bytes.length).toBeLessThanOrEqual(used)
    expect(bytes.length).toBeGreaterThan(used - 16)
    expect(decode(bytes).additionals).toMatchObject([
      { type: 'OPT', udpPayloadSize: 1_232, flag_do: true, ednsVersion: 0 },
    ])
  })

  it('over TCP all are there', () => {
    expect(decode(answerTo(query('tasks.web'), { transport: 'tcp' }))).toMatchObject({
      flag_tc: false,
      answers: { length: 200 },
    })
  })
})

describe('what is no question that we answer', () => {
  it('an answer is not answered, nor is what is too short or too long', () => {
    const silence = { kind: 'silence' }
    expect(send(encode({ type: 'response', id: 1, questions: [{ name: 'web', type: 'A' }] }))).toEqual(
      silence,
    )
    expect(send(Buffer.alloc(11))).toEqual(silence)
    expect(send(Buffer.concat([query('web'), Buffer.alloc(5_000)]))).toEqual(silence)
  })

  it('two questions, none, or a name that points anywhere: malformed', () => {
    const two = encode({
      type: 'query',
      id: 1,
      questions: [
        { name: 'web', type: 'A' },
        { name: 'web', type: 'A' },
      ],
    })
    const none = encode({ type: 'query', id: 1 })
    const pointing = Buffer.concat([query('web').subarray(0, 12), Buffer.from([0xc0, 0, 0, 1, 0, 1])])
    const cut = query('web').subarray(0, 15)
    const opts = query('web', { additionals: [...opt(512).additionals!, ...opt(512).additionals!] })
    for (const message of [two, none, pointing, cut, opts]) {
      const bytes = answerTo(message)
      expect([codeOf(bytes), bytes.length]).toEqual([1, 12])
    }
  })

  it('other operations, classes and transfers: not implemented', () => {
    const update = query('web')
    update.writeUInt16BE(0x2800, 2)
    const chaos = encode({
      type: 'query',
      id: 1,
      questions: [{ name: 'version.bind', type: 'TXT', class: 'CH' }],
    })
    for (const message of [update, chaos, query('moot.internal', {}, 'AXFR'), query('web', {}, 'IXFR')])
      expect(codeOf(answerTo(message))).toBe(4)
  })

  it('a later version of EDNS: bad version, which stands in OPT', () => {
    const bytes = answerTo(query('web', opt(1_232, { ednsVersion: 1 })))
    expect(codeOf(bytes)).toBe(0)
    expect(decode(bytes)).toMatchObject({ answers: [], additionals: [{ extendedRcode: 1, ednsVersion: 0 }] })
  })

  it('who is on no network is refused, in no more bytes than it sent', () => {
    const message = query('tasks.web', opt(4_096))
    const bytes = answerTo(message, { from: '192.0.2.1' })
    expect([codeOf(bytes), bytes.length]).toEqual([5, message.length])
    expect(send(query('example.com'), { from: '192.0.2.1' })).toMatchObject({
      kind: 'answer',
      outcome: 'refused',
    })
  })

  it('names of the world are passed on', () => {
    expect(send(query('example.com'))).toMatchObject({ kind: 'forward', nameservers: ['192.0.2.53'] })
    expect(send(query('example.com', {}, 'HTTPS'))).toMatchObject({ kind: 'forward' })
  })
})

describe('whatever comes', () => {
  const damagedQuery = fc
    .tuple(
      fc.constantFrom('web', 'tasks.web.moot.internal', '2.0.128.10.in-addr.arpa', 'example.com'),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
      fc.nat(80),
    )
    .map(([name, damages, cut]) => {
      const message = query(name, opt(1_232))
      for (const [at, value] of damages) message[at % message.length] = value
      return message.subarray(0, Math.max(message.length - cut, cut % 7 === 0 ? message.length : 0))
    })
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)),
    damagedQuery,
  )

  it('is answered readably, shortly and with its id, or not at all', () => {
    fc.assert(
      fc.property(anything, fc.constantFrom('udp', 'tcp'), (message, transport) => {
        const response = send(message, { transport })
        if (response.kind !== 'answer') return
        expect(response.bytes.readUInt16BE(0)).toBe(message.readUInt16BE(0))
        expect(response.bytes.readUInt16BE(2) & 0x8000).toBe(0x8000)
        expect(() => decode(response.bytes)).not.toThrow()
        expect(response.bytes.length).toBeLessThanOrEqual(transport === 'udp' ? 1_232 : 65_535)
      }),
      { numRuns: 2_000 },
    )
  })

  it('makes no more of it for one who is on no network', () => {
    fc.assert(
      fc.property(anything, (message) => {
        const response = send(message, { from: '192.0.2.1' })
        const saidBytes = response.kind === 'answer' ? response.bytes.length : 0
        expect(response.kind).not.toBe('forward')
        expect(saidBytes).toBeLessThanOrEqual(message.length)
      }),
      { numRuns: 1_000 },
    )
  })
})
