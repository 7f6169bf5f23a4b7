import { setTimeout as delay } from 'node:timers/promises'
import { decode, type Packet } from 'dns-packet'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  addressesIn,
  codeOf,
  type ProcessBed,
  processBed,
  query,
  sendTcp,
  signal,
  tableOf,
} from './name-server.bed.ts'
import { answerTo, type Talk, type Upstream, upstream } from './name-server.upstream.ts'

const stranger = '127.77.0.99'
const own = '127.77.0.17'

describe('names of the world', () => {
  let bed: ProcessBed
  const upstreams: Upstream[] = []
  beforeEach(async () => {
    bed = await processBed()
  })
  afterEach(async () => {
    await bed.close()
    for (const each of upstreams.splice(0)) await each.close()
  })
  const host = async (address: string, talk?: (talk: Talk) => void): Promise<Upstream> => {
    const one = await upstream(address, bed.forwardPort, talk)
    upstreams.push(one)
    return one
  }
  const publish = (nameservers: readonly string[] = []): Promise<void> =>
    bed.server().publish(tableOf({}, nameservers), signal)
  const ask = async (from = stranger): Promise<string[] | number | undefined> => {
    const bytes = await bed.send(query('example.com'), from, 7_000)
    return bytes && (codeOf(bytes) === 0 ? addressesIn(decode(bytes)) : codeOf(bytes))
  }

  it('are asked of the host’s name servers, or the service’s own; with the asker’s id and letters', async () => {
    bed.setNameservers('127.66.0.1')
    await host('127.66.0.1')
    await host('127.66.0.2', ({ question, say }) =>
      say(answerTo(question, { answers: [{ type: 'A', name: 'example.com', ttl: 1, data: '192.0.2.2' }] })),
    )
    await publish(['127.66.0.2'])
    expect(await ask()).toEqual(['192.0.2.80'])
    expect(await ask(own)).toEqual(['192.0.2.2'])
    const asked = query('eXample.COM', 'A', 4_711)
    expect(decode((await bed.send(asked, stranger))!)).toMatchObject({
      id: 4_711,
      questions: [{ name: 'eXample.COM' }],
    })
  })

  it('each question leaves from another port with another id', async () => {
    bed.setNameservers('127.66.0.1')
    const { asked } = await host('127.66.0.1')
    await publish()
    for (let round = 0; round < 20; round++) await bed.send(query('example.com', 'A', 7), stranger)
    expect(new Set(asked.map(({ port }) => port)).size).toBeGreaterThan(15)
    expect(new Set(asked.map(({ id }) => id)).size).toBeGreaterThan(15)
  })

  it('a change of resolv.conf counts within two seconds', async () => {
    bed.setNameservers('127.66.0.1')
    await host('127.66.0.1', ({ question, say }) => say(answerTo(question, { answers: [], flags: 0x8183 })))
    await host('127.66.0.2')
    await publish()
    expect(await ask()).toBe(3)
    bed.setNameservers('127.66.0.2')
    await delay(1_200)
    expect(await ask()).toEqual(['192.0.2.80'])
  })

  it('one that refuses, fails or is silent is followed by the next; a silent one is asked last from then on', async () => {
    bed.setNameservers('127.66.0.1', '127.66.0.2', '127.66.0.3')
    const silent = await host('127.66.0.1', () => undefined)
    await host('127.66.0.2', ({ question, say }) => say(answerTo(question, { answers: [], flags: 0x8185 })))
    await host('127.66.0.3')
    await publish()
    expect(await ask()).toEqual(['192.0.2.80'])
    const fromMs = performance.now()
    expect(await ask()).toEqual(['192.0.2.80'])
    expect(performance.now() - fromMs).toBeLessThan(1_000)
    expect(silent.asked).toHaveLength(1)
  })

  it('a forged answer is passed over: another id, another question, another sender, no answer at all', async () => {
    bed.setNameservers('127.66.0.1')
    await host('127.66.0.1', ({ question, say }) => {
      const wrongId = answerTo(question)
      wrongId.writeUInt16BE((wrongId.readUInt16BE(0) + 1) % 65_536, 0)
      const forged: Packet = { answers: [{ type: 'A', name: 'example.com', ttl: 1, data: '192.0.2.66' }] }
      const wrong = [
        wrongId,
        answerTo(question, { ...forged, questions: [{ type: 'A', name: 'examples.com' }] }),
        answerTo(question, { ...forged, questions: [] }),
        question,
        Buffer.from('no answer'),
      ]
      for (const each of wrong) say(each)
      setTimeout(() => say(answerTo(question)), 100)
    })
    await publish()
    expect(await ask()).toEqual(['192.0.2.80'])
  })

  it('an answer without room: who asked over UDP is told so, who comes back over TCP gets it all', async () => {
    bed.setNameservers('127.66.0.1')
    const long = Array.from({ length: 100 }, (_, index) => ({
      type: 'A' as const,
      name: 'example.com',
      ttl: 1,
      data: `192.0.2.${index}`,
    }))
    const { asked } = await host('127.66.0.1', ({ question, transport, say }) =>
      say(
        transport === 'tcp'
          ? answerTo(question, { answers: long })
          : answerTo(question, { answers: [], flags: 0x0380 }),
      ),
    )
    await publish()
    expect(decode((await bed.send(query('example.com'), stranger))!)).toMatchObject({ flag_tc: true })
    const [answer] = await sendTcp([query('example.com')], stranger, bed.port)
    expect(addressesIn(decode(answer!))).toHaveLength(100)
    expect(asked.map(({ transport }) => transport)).toEqual(['udp', 'udp', 'tcp'])
  })

  it('an answer that is longer than its asker takes is cut, whatever the server thinks', async () => {
    bed.setNameservers('127.66.0.1')
    const texts = Array.from({ length: 10 }, () => 'x'.repeat(100))
    await host('127.66.0.1', ({ question, say }) =>
      say(answerTo(question, { answers: [{ type: 'TXT', name: 'example.com', ttl: 1, data: texts }] })),
    )
    await publish()
    const bytes = (await bed.send(query('example.com', 'TXT'), stranger))!
    expect(bytes.length).toBeLessThanOrEqual(512)
    expect(decode(bytes)).toMatchObject({ flag_tc: true, answers: [] })
  })

  it('nobody there: failed, and at once where the host says so', async () => {
    bed.setNameservers('127.66.0.1', '127.66.0.2')
    await publish()
    const fromMs = performance.now()
    expect(await ask()).toBe(2)
    expect(performance.now() - fromMs).toBeLessThan(1_000)
    expect(await bed.server().counts(signal)).toMatchObject({ forwardFailed: 1 })
  })

  it('a name server that asks us makes no loop', async () => {
    bed.setNameservers('127.66.0.1')
    const { asked } = await host('127.66.0.1', ({ question, say }) => {
      // Another that has ours for its own: it passes the same bytes on.
      void bed.send(question, stranger, 4_000).then((bytes) => bytes && say(bytes))
    })
    await publish()
    expect(await ask()).toBe(2)
    expect(asked.length).toBeLessThan(200)
  })

  it('of one asker so many are under way, then it is told so; others are answered meanwhile', async () => {
    bed.setNameservers('127.66.0.1')
    const held: (() => void)[] = []
    await host('127.66.0.1', ({ question, say }) => held.push(() => say(answerTo(question))))
    await publish()
    const many = Array.from({ length: 200 }, () => query('example.com'))
    const answers = sendTcp(many, stranger, bed.port)
    while (held.length < 128) await delay(10)
    const other = ask('127.77.0.98')
    while (held.length < 129) await delay(10)
    expect(await bed.ask(stranger, 'web')).toMatchObject({ kind: 'addresses' })
    for (const release of held) release()
    expect(await other).toEqual(['192.0.2.80'])
    expect((await answers).filter((bytes) => codeOf(bytes) === 2)).toHaveLength(72)
    expect(await bed.server().counts(signal)).toMatchObject({ forwardsFull: 72, forwarded: 129 })
  })
})
