import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryBed, type NameServerBed, processBed, signal, tableOf } from './name-server.bed.ts'

/** On the first network, and not known by its address. */
const stranger = '127.77.0.99'

describe.each([
  ['in memory', memoryBed],
  ['a process', processBed],
] as const)('a name server: %s', (_, bedOf) => {
  let bed: NameServerBed
  beforeEach(async () => {
    bed = await bedOf()
  })
  afterEach(() => bed.close())
  const publish = (...table: Parameters<typeof tableOf>): Promise<void> =>
    bed.server().publish(tableOf(...table), signal)

  it('answers by what was published, to each by its networks', async () => {
    await publish()
    expect(await bed.ask(stranger, 'web')).toEqual({ kind: 'addresses', values: ['127.77.0.2'] })
    expect(await bed.ask('127.77.0.17', 'web')).toEqual({ kind: 'addresses', values: ['127.77.128.2'] })
    expect(await bed.ask('127.77.0.17', 'WEB.moot.internal.')).toMatchObject({ values: ['127.77.128.2'] })
    expect((await bed.ask(stranger, 'tasks.web'))?.values[0]).toBe('127.77.0.17')
    expect(await bed.ask(stranger, 'web', 'AAAA')).toEqual({ kind: 'empty', values: [] })
    expect(await bed.ask(stranger, 'nobody.moot.internal')).toEqual({ kind: 'unknown', values: [] })
    expect(await bed.ask(stranger, '2.0.77.127.in-addr.arpa', 'PTR')).toEqual({
      kind: 'pointer',
      values: ['web.moot.internal'],
    })
    expect(await bed.ask('127.78.0.1', 'web')).toEqual({ kind: 'refused', values: [] })
    expect(await bed.ask(stranger, 'example.com')).toEqual({ kind: 'failed', values: [] })
    expect(await bed.ask('127.77.128.99', 'example.com')).toEqual({ kind: 'refused', values: [] })
  })

  it('a change is answered by once it is published, and what is gone is gone', async () => {
    await publish({ db: { addresses: ['127.77.0.3'], local: 0 } })
    await publish({
      cache: { addresses: ['127.77.0.4'], local: 0 },
      web: { addresses: ['127.77.0.5'], local: 0 },
    })
    expect(await bed.ask(stranger, 'web')).toMatchObject({ values: ['127.77.0.5'] })
    expect(await bed.ask(stranger, 'cache')).toMatchObject({ values: ['127.77.0.4'] })
    expect(await bed.ask(stranger, 'db.moot.internal')).toEqual({ kind: 'unknown', values: [] })
    await bed.server().publish({ networks: [], clients: [] }, signal)
    expect(await bed.ask(stranger, 'web')).toEqual({ kind: 'refused', values: [] })
  })

  it('of what is published at the same time the last counts', async () => {
    const addresses = Array.from({ length: 20 }, (_, index) => `127.77.1.${index}`)
    await Promise.all(addresses.map((address) => publish({ db: { addresses: [address], local: 0 } })))
    expect(await bed.ask(stranger, 'db')).toMatchObject({ values: ['127.77.1.19'] })
  })

  it('goes on answering when its agent is gone, and the next agent changes what the last one said', async () => {
    await publish({ db: { addresses: ['127.77.0.3'], local: 0 } })
    await bed.server().close()
    expect(await bed.ask(stranger, 'db')).toMatchObject({ values: ['127.77.0.3'] })
    await bed.restart()
    expect(await bed.ask(stranger, 'db')).toMatchObject({ values: ['127.77.0.3'] })
    await publish({})
    expect(await bed.ask(stranger, 'db.moot.internal')).toMatchObject({ kind: 'unknown' })
  })

  it('whoever has closed it tells it nothing more', async () => {
    await publish()
    await bed.server().close()
    await expect(publish()).rejects.toMatchObject({ code: 'ERR_NAME_SERVER_UNAVAILABLE' })
  })

  it('whoever gives up waiting is not kept', async () => {
    await expect(bed.server().publish(tableOf(), AbortSignal.abort())).rejects.toThrow(/abort/)
  })

  it('counts questions by what became of them; before it runs there is nothing to count', async () => {
    expect(await bed.server().counts(signal)).toBeUndefined()
    await publish()
    await bed.ask(stranger, 'web')
    await bed.ask(stranger, 'web', 'AAAA')
    await bed.ask(stranger, 'nobody.moot.internal')
    await bed.ask(stranger, 'example.com')
    await bed.ask('127.78.0.1', 'web')
    expect(await bed.server().counts(signal)).toEqual({
      answered: 1,
      empty: 1,
      unknown: 1,
      forwarded: 0,
      forwardFailed: 1,
      forwardsFull: 0,
      refused: 1,
      malformed: 0,
      unsupported: 0,
      dropped: 0,
      truncated: 0,
    })
  })

  it('that is ended answers nobody, and leaves nothing for a next one', async () => {
    await publish()
    await bed.server().end(signal)
    expect(await bed.ask(stranger, 'web')).toBeUndefined()
    await bed.restart()
    await bed.server().publish({ networks: [], clients: [] }, signal)
    expect(await bed.ask(stranger, 'web')).toEqual({ kind: 'refused', values: [] })
  })

  it('that has never run is ended all the same', async () => {
    await bed.server().end(signal)
    expect(await bed.ask(stranger, 'web')).toBeUndefined()
  })
})
