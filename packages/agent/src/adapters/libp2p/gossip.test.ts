import type { Connection, Stream } from '@libp2p/interface'
import { describe, expect, it } from 'vitest'
import { withLiveStreams } from './gossip.ts'

/** A connection of which each stream is like this by the time it has been opened. */
class FakeConnection {
  readonly #status: Stream['status']
  constructor(status: Stream['status']) {
    this.#status = status
  }
  newStream(): Promise<Pick<Stream, 'status'>> {
    return Promise.resolve({ status: this.#status })
  }
  get direction(): string {
    return this.#status === 'open' ? 'inbound' : 'outbound'
  }
}
const of = (status: Stream['status']): Connection =>
  withLiveStreams(new FakeConnection(status) as unknown as Connection)

describe('what gossipsub is given to open its stream on', () => {
  it('opens streams, and is the connection in all else', async () => {
    await expect(of('open').newStream('/gossip')).resolves.toEqual({ status: 'open' })
    expect(of('open').direction).toBe('inbound')
  })

  // It would be kept for ever, and nothing would be sent to this peer again, on whatever connection it comes back.
  it.each(['reset', 'aborted', 'closed'] as const)(
    'gives it no stream that is %s while it is opened',
    async (status) => {
      await expect(of(status).newStream('/gossip')).rejects.toThrow('it closed while it was being opened')
    },
  )
})
