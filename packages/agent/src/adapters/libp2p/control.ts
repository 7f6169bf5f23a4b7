import * as z from 'zod'
import { introductionMaxBytes } from '../../join/introduction.ts'
import type { Channel } from './channel.ts'

export const controlProtocol = '/moot/hello/1'

/** A longer list is refused. All are of one host, and it is dialled by the first that answers. */
export const helloAddressesMax = 16

const helloSchema = z.object({
  cluster: z.string().max(128),
  /** Control protocol versions that the sender speaks. */
  versions: z.array(z.number().int()).max(16),
  /** Random, new at each start of the agent: tells a restarted peer from the same one. */
  session: z.string().max(64),
  /** Where the sender listens now. */
  addresses: z.array(z.string().max(256)).max(helloAddressesMax),
  /**
   * Base64; only from the side that dials, which cannot know whether the other one has heard of it. One that cannot be
   * read (a newer agent's may be longer) is as good as none: it must not end the greeting of a member.
   */
  introduction: z
    .base64()
    .max(Math.ceil(introductionMaxBytes / 3) * 4)
    .optional()
    .catch(undefined),
})
export type Hello = z.infer<typeof helloSchema>

/** What goes over a connection's control stream; it stays open as long as the connection. */
export type ControlMessage =
  | { readonly kind: 'hello'; readonly hello: Hello }
  | { readonly kind: 'accepted'; readonly hello: Hello }
  | { readonly kind: 'refused'; readonly words: string }
  | { readonly kind: 'farewell'; readonly removal: Uint8Array }
  | { readonly kind: 'ping'; readonly id: number }
  | { readonly kind: 'pong'; readonly id: number }
  /** From a newer agent: ignored. */
  | { readonly kind: 'unknown' }

const tags = { hello: 1, accepted: 2, refused: 3, farewell: 4, ping: 5, pong: 6 } as const
const encoder = new TextEncoder()
const decoder = new TextDecoder()

function body(message: Exclude<ControlMessage, { kind: 'unknown' }>): Uint8Array {
  switch (message.kind) {
    case 'hello':
    case 'accepted':
      return encoder.encode(JSON.stringify(message.hello))
    case 'refused':
      return encoder.encode(message.words)
    case 'farewell':
      return message.removal
    case 'ping':
    case 'pong': {
      const id = Buffer.alloc(4)
      id.writeUInt32BE(message.id)
      return id
    }
  }
}

export function sendControl(
  channel: Channel,
  message: Exclude<ControlMessage, { kind: 'unknown' }>,
): Promise<void> {
  return channel.writeFrame(Uint8Array.of(tags[message.kind]), body(message))
}

function helloIn(rest: Uint8Array): Hello {
  return helloSchema.parse(JSON.parse(decoder.decode(rest)))
}

/** The next message; undefined when the other side closed. Throws on anything malformed. */
export async function readControl(channel: Channel, maxBytes: number): Promise<ControlMessage | undefined> {
  const frame = await channel.readFrame('a control message', maxBytes)
  if (frame === undefined) return undefined
  const rest = frame.subarray(1)
  switch (frame[0]) {
    case tags.hello:
      return { kind: 'hello', hello: helloIn(rest) }
    case tags.accepted:
      return { kind: 'accepted', hello: helloIn(rest) }
    case tags.refused:
      return { kind: 'refused', words: decoder.decode(rest.subarray(0, 1_024)) }
    case tags.farewell:
      return { kind: 'farewell', removal: rest.slice() }
    case tags.ping:
    case tags.pong:
      if (rest.length !== 4) throw new Error('a malformed ping')
      return {
        kind: frame[0] === tags.ping ? 'ping' : 'pong',
        id: new DataView(rest.buffer, rest.byteOffset).getUint32(0),
      }
    default:
      return { kind: 'unknown' }
  }
}
