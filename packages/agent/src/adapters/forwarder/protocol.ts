import type { NodeId, TaskId } from '@moot/crdt-state'
import * as z from 'zod/mini'
import type { Forward } from '../../core/network/plane.ts'
import { type ForwarderCounts, nothingForwarded, type PortTrouble } from '../../ports/forwarder.ts'
import { frame } from '../detached/frames.ts'
import type { Wire } from '../detached/wire.ts'

/**
 * JSON in frames, over a unix socket that only root can open. An agent may meet the forwarder of an older or a newer one: fields are only
 * ever added, and unknown ones are passed over.
 */
export type Question =
  | { readonly ask: 'apply'; readonly forwards: readonly Forward[] }
  | { readonly ask: 'troubles' }
  | { readonly ask: 'counts' }
  /** What it goes by: for one that takes its place. */
  | { readonly ask: 'forwards' }

export type Reply =
  /** Each new connection goes by it, but on ports that are another's. */
  | { readonly kind: 'troubles'; readonly troubles: readonly PortTrouble[] }
  | { readonly kind: 'counts'; readonly counts: ForwarderCounts }
  | { readonly kind: 'forwards'; readonly forwards: readonly Forward[] }

const id = z.int().check(z.nonnegative())
const protocol = z.enum(['tcp', 'udp'])
const port = z.int().check(z.minimum(1), z.maximum(65_535))
const task = z.pipe(
  z.string(),
  z.transform((text) => text as TaskId),
)
const node = z.pipe(
  z.string(),
  z.transform((text) => text as NodeId),
)
const forwards = z.array(
  z.object({
    protocol,
    port,
    target: port,
    endpoints: z.array(
      z.discriminatedUnion('kind', [
        z.object({ kind: z.literal('local'), task, address: z.ipv4() }),
        z.object({ kind: z.literal('remote'), task, node }),
      ]),
    ),
  }),
)
const troubles = z.array(z.object({ protocol, port, why: z.string() }))

const question = z.discriminatedUnion('ask', [
  z.object({ ask: z.literal('hello'), id }),
  z.object({ ask: z.literal('apply'), id, forwards }),
  z.object({ ask: z.literal('troubles'), id }),
  z.object({ ask: z.literal('counts'), id }),
  z.object({ ask: z.literal('forwards'), id }),
  z.object({ ask: z.literal('retire'), id }),
  z.object({ ask: z.literal('end'), id }),
])

const reply = z.discriminatedUnion('kind', [
  z.object({ id, kind: z.literal('hello'), pid: z.int(), program: z.string() }),
  z.object({ id, kind: z.literal('troubles'), troubles }),
  z.object({ id, kind: z.literal('counts'), counts: z.record(z.string(), z.number()) }),
  z.object({ id, kind: z.literal('forwards'), forwards }),
  z.object({ id, kind: z.literal('gone') }),
  z.object({ id, kind: z.literal('failed'), why: z.string() }),
])

export const forwarderWire: Wire<Question, Reply> = {
  readQuestion: (text) => question.parse(JSON.parse(text)),
  readReply(text) {
    const read = reply.parse(JSON.parse(text))
    return read.kind === 'counts' ? { ...read, counts: { ...nothingForwarded, ...read.counts } } : read
  },
  writeQuestion: (id, asked) => frame({ ...asked, id }),
  writeReply: (id, answer) => frame({ ...answer, id }),
}

/** What the forwarder asks its agent first of all over a connection that is to lead to another node: one line of JSON, which is answered with one. */
const relayRequest = z.object({ node, task, protocol, port })
const relayAnswer = z.object({ error: z.optional(z.string()) })
export type RelayRequest = z.infer<typeof relayRequest>

export function readRelayRequest(line: string): RelayRequest {
  return relayRequest.parse(JSON.parse(line))
}

/** Undefined: it is open. Else why not. */
export function readRelayAnswer(line: string): string | undefined {
  return relayAnswer.parse(JSON.parse(line)).error
}
