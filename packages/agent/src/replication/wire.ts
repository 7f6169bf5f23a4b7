import type { NodeId, RecordMessage, RecordVersion, SpecDigestEntries, SpecMessage } from '@moot/crdt-state'
import * as z from 'zod'

/**
 * What goes over the mesh, as JSON. Only the shape is checked here: what a message *means* (signatures, document
 * ids, sequences) is the stores' to verify. Members that are not known here stay, for a newer peer's sake.
 */
const sequence = z.number().int().min(0)
const specKind = z.enum(['service', 'network', 'secret', 'config', 'node', 'cluster'])

const specMessage = z.discriminatedUnion('type', [
  z.looseObject({
    type: z.literal('changes'),
    kind: specKind,
    name: z.string(),
    incarnation: sequence,
    changes: z.array(z.string()).optional(),
    document: z.string().optional(),
  }),
  z.looseObject({
    type: z.literal('tombstone'),
    tombstone: z.looseObject({
      kind: specKind,
      name: z.string(),
      incarnation: sequence,
      author: z.looseObject({ node: z.string(), client: z.string(), atMs: z.number() }),
      publicKey: z.string(),
      signature: z.string(),
    }),
  }),
])
export const specMessagesSchema = z.array(specMessage) as unknown as z.ZodType<SpecMessage[]>

const recordMessage = z.looseObject({
  node: z.string(),
  epoch: sequence,
  seq: sequence,
  from: sequence.optional(),
  entries: z.record(z.string(), z.string().nullable()),
  publicKey: z.string(),
  signature: z.string(),
})
export const recordMessagesSchema = z.array(recordMessage) as unknown as z.ZodType<RecordMessage[]>

const nodeId = z.string() as unknown as z.ZodType<NodeId>

/** `behind`: this node has more than fits into gossip; compare yourselves with it. */
export const specGossipSchema = z.union([
  z.object({ messages: specMessagesSchema }),
  z.object({ behind: nodeId }),
])
export const recordGossipSchema = z.union([
  z.object({ records: recordMessagesSchema }),
  z.object({ behind: nodeId }),
])

export const commitSchema = z.object({ messages: specMessagesSchema })
/** `confirmed`: what was sent is on this peer's disk. `removals` concern edits of what was removed meanwhile. */
export const commitAnswerSchema = z.object({ confirmed: z.boolean(), removals: specMessagesSchema })

export const fetchSchema = z.object({ ids: z.array(z.string()) })
/** `rest`: ids that did not fit into the answer. */
export const fetchAnswerSchema = z.object({ messages: specMessagesSchema, rest: z.array(z.string()) })

export const watermarkSchema = z.object({})
/** The version that the asked node has of the asking one's record: epoch and sequence; null where it has none. */
export const watermarkAnswerSchema = z.object({ version: z.tuple([sequence, sequence]).nullable() })

export const recordRequestSchema = z.object({ node: nodeId })
export const recordAnswerSchema = z.object({ records: recordMessagesSchema })

const recordDigest = z.array(z.tuple([nodeId, sequence, sequence]))
const specEntries = z.array(z.tuple([z.string(), z.array(z.string()), z.boolean()]))
export type WireRecordDigest = z.infer<typeof recordDigest>
export type WireSpecEntries = z.infer<typeof specEntries>

/** The steps of one comparison. The answering side keeps nothing between them. */
export const syncSchema = z.discriminatedUnion('step', [
  z.object({ step: z.literal('compare'), specs: z.string(), records: z.string() }),
  z.object({
    step: z.literal('specs'),
    buckets: z.array(z.number().int().min(0).max(255)).max(256),
    entries: specEntries,
  }),
  z.object({ step: z.literal('records'), digest: recordDigest }),
  z.object({ step: z.literal('push-records'), records: recordMessagesSchema }),
])
export type SyncStep = z.infer<typeof syncSchema>

/** Undefined = equal. */
export const compareAnswerSchema = z.object({
  buckets: z.array(z.string()).max(256).optional(),
  digest: recordDigest.optional(),
})
export const specsAnswerSchema = z.object({
  messages: specMessagesSchema,
  want: z.array(z.string()),
  more: z.boolean(),
})
export const recordsAnswerSchema = z.object({ records: recordMessagesSchema, more: z.boolean() })
export const pushedAnswerSchema = z.object({})

export function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}

/** Undefined for anything that is not JSON of this shape. */
export function decode<T>(schema: z.ZodType<T>, payload: Uint8Array): T | undefined {
  try {
    const parsed = schema.safeParse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)))
    return parsed.success ? parsed.data : undefined
  } catch {
    return undefined
  }
}

export function digestToWire(digest: ReadonlyMap<NodeId, RecordVersion>): WireRecordDigest {
  return [...digest].map(([node, { epoch, seq }]) => [node, epoch, seq])
}
export function digestFromWire(wire: WireRecordDigest): Map<NodeId, RecordVersion> {
  return new Map(wire.map(([node, epoch, seq]) => [node, { epoch, seq }]))
}
export function entriesToWire(entries: SpecDigestEntries): WireSpecEntries {
  return [...entries].map(([id, { heads, dead }]) => [id, [...heads], dead])
}
export function entriesFromWire(wire: WireSpecEntries): SpecDigestEntries {
  return new Map(wire.map(([id, heads, dead]) => [id, { heads, dead }]))
}

/** As many of the first items as fit into `maxBytes` of JSON, at least one. */
export function page<T>(items: readonly T[], maxBytes: number): readonly T[] {
  let bytes = 0
  let count = 0
  for (const item of items) {
    // Length in UTF-16 units: almost all of it is base64 and hex, and the bound is half of what the mesh takes.
    bytes += JSON.stringify(item).length + 1
    if (count > 0 && bytes > maxBytes) break
    count += 1
  }
  return items.slice(0, count)
}
