import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { anyText } from '@moot/crdt-state/testing/any-text'
import { damaged, damages } from '@moot/crdt-state/testing/damaged-bytes'
import { introductionMaxBytes } from '../../join/introduction.ts'
import type { Channel } from './channel.ts'
import { type ControlMessage, readControl, sendControl } from './control.ts'

const maxBytes = 64 * 1024
const text = anyText(12)
const hello = fc.record(
  {
    cluster: text,
    versions: fc.array(fc.integer(), { maxLength: 16 }),
    session: text,
    addresses: fc.array(text, { maxLength: 16 }),
    introduction: fc
      .uint8Array({ maxLength: introductionMaxBytes })
      .map((bytes) => Buffer.from(bytes).toString('base64')),
  },
  { requiredKeys: ['cluster', 'versions', 'session', 'addresses'] },
)
const id = fc.nat({ max: 0xffff_ffff })
const message: fc.Arbitrary<Exclude<ControlMessage, { kind: 'unknown' }>> = fc.oneof(
  fc.record({ kind: fc.constantFrom('hello' as const, 'accepted' as const), hello }),
  // A byte order mark at the beginning is no letter to a decoder.
  fc.record({
    kind: fc.constant('refused' as const),
    words: text.filter((words) => !words.startsWith('\ufeff')),
  }),
  fc.record({ kind: fc.constant('farewell' as const), removal: fc.uint8Array() }),
  fc.record({ kind: fc.constantFrom('ping' as const, 'pong' as const), id }),
)

/** The frame that goes over the wire. */
async function frameOf(message: Exclude<ControlMessage, { kind: 'unknown' }>): Promise<Uint8Array> {
  let frame = new Uint8Array()
  const writeFrame = async (...parts: readonly Uint8Array[]): Promise<void> => {
    frame = Uint8Array.from(Buffer.concat(parts))
  }
  await sendControl({ writeFrame } as unknown as Channel, message)
  return frame
}

function read(frame: Uint8Array): Promise<ControlMessage | undefined> {
  return readControl({ readFrame: async () => frame } as unknown as Channel, maxBytes)
}

describe('a control message', () => {
  test('is read as it was sent', async () => {
    await fc.assert(
      fc.asyncProperty(message, async (message) => {
        expect(await read(await frameOf(message))).toEqual(message)
      }),
      { numRuns: 200 },
    )
  })

  test('with an introduction that cannot be read is a greeting without one', async () => {
    const greeting = { cluster: 'c', versions: [1], session: 's', addresses: [] }
    for (const introduction of ['?', 'A'.repeat(100_000)]) {
      const frame = await frameOf({ kind: 'hello', hello: { ...greeting, introduction } })
      expect(await read(frame)).toEqual({ kind: 'hello', hello: greeting })
    }
  })

  test('that was damaged is a message or an error, which ends the connection and no more', async () => {
    await fc.assert(
      fc.asyncProperty(message, damages, fc.uint8Array(), async (message, by, noise) => {
        for (const frame of [damaged(await frameOf(message), by), noise]) {
          const outcome = await read(frame).catch((error: unknown) => error)
          const kind = outcome instanceof Error ? 'error' : (outcome as ControlMessage).kind
          expect(['error', 'hello', 'accepted', 'refused', 'farewell', 'ping', 'pong', 'unknown']).toContain(
            kind,
          )
        }
      }),
      { numRuns: 300 },
    )
  })
})
