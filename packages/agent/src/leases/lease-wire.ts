import type { NodeId } from '@moot/crdt-state'
import * as z from 'zod'
import type { Epoch, LeaseMessage, SlotKey } from '../core/lease/messages.ts'
import { leasedSlotsMax } from '../core/lease/voter.ts'

/**
 * What nodes say to each other about leases, as JSON: one list of messages a request. Only the shape is checked here; fields
 * that are not known here are passed over, for a newer peer's sake.
 */
const whole = z.int().check(z.nonnegative())
const node = z.string().min(1).max(128) as unknown as z.ZodType<NodeId>
const slot = z.string().min(1).max(256) as unknown as z.ZodType<SlotKey>
const time = z.number()

/** Far more than five voters can have granted together. */
const listMax = 8 * leasedSlotsMax

const seat = z.object({ node, disk: z.string().min(1).max(128) })
const held = z.object({ slot, holders: z.array(node).max(64), fence: whole, life: whole })
const loosened = z.object({ slot, term: z.number() })
export const epochSchema: z.ZodType<Epoch> = z.object({
  number: whole,
  voters: z.array(seat).max(64),
  held: z.array(held).max(listMax),
  loosened: z.array(loosened).max(listMax),
  fence: whole,
})
export const heldSchema = z.array(held).max(listMax)
export const loosenedSchema = z.array(loosened).max(listMax)
export const ballotSchema = z.object({ round: whole, node })
export const acceptanceSchema = z.object({ ballot: ballotSchema, value: epochSchema })

const askId = { slot, life: whole, askedAtMs: time }
const intent = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('look') }),
  z.object({ kind: z.literal('take'), fence: whole }),
  z.object({ kind: z.literal('renew'), fence: whole }),
  z.object({ kind: z.literal('loosen') }),
])
const verdict = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('free'), fence: whole }),
  z.object({ kind: z.literal('granted'), fence: whole }),
  z.object({ kind: z.literal('loosened') }),
  z.object({ kind: z.literal('stale'), fence: whole }),
  z.object({ kind: z.literal('held'), by: z.array(node).max(64), forMs: time }),
  z.object({ kind: z.literal('silent'), forMs: time }),
  z.object({ kind: z.literal('changing') }),
  z.object({ kind: z.literal('outdated') }),
  z.object({ kind: z.literal('full') }),
])
const message: z.ZodType<LeaseMessage> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ask'), epoch: whole, ...askId, term: z.number(), intent }),
  z.object({ kind: z.literal('answer'), epoch: whole, ...askId, verdict }),
  z.object({ kind: z.literal('release'), epoch: whole, slot, life: whole, fence: whole }),
  z.object({ kind: z.literal('prepare'), epoch: whole, ballot: ballotSchema }),
  z.object({
    kind: z.literal('promise'),
    epoch: whole,
    ballot: ballotSchema,
    accepted: acceptanceSchema.exactOptional(),
    held: heldSchema,
    loosened: loosenedSchema,
    fence: whole,
  }),
  z.object({ kind: z.literal('accept'), epoch: whole, ballot: ballotSchema, value: epochSchema }),
  z.object({ kind: z.literal('accepted'), epoch: whole, ballot: ballotSchema }),
  z.object({ kind: z.literal('refuse'), epoch: whole, ballot: ballotSchema, promised: ballotSchema }),
  z.object({ kind: z.literal('know'), epoch: whole }),
  z.object({ kind: z.literal('fetch'), above: z.int() }),
  z.object({ kind: z.literal('epoch'), value: epochSchema }),
])

export function encodeMessages(messages: readonly LeaseMessage[]): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(messages))
}

/** Those that can be read: a newer peer's new kind of message costs the others nothing. Undefined: no list at all. */
export function decodeMessages(payload: Uint8Array): readonly LeaseMessage[] | undefined {
  try {
    const list: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
    if (!Array.isArray(list)) return undefined
    return list.flatMap((each: unknown) => {
      const parsed = message.safeParse(each)
      return parsed.success ? [parsed.data] : []
    })
  } catch {
    return undefined
  }
}
