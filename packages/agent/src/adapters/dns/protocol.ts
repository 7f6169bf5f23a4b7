import * as z from 'zod/mini'
import type { NameChanges } from '../../core/network/name-changes.ts'
import { type NameServerCounts, nothingCounted } from '../../ports/name-server.ts'
import { frame } from '../detached/frames.ts'
import type { Wire } from '../detached/wire.ts'

/**
 * JSON in frames, over a unix socket that only root can open. Answers carry the question's id. An agent may meet the server of an
 * older or a newer one: fields are only ever added, and unknown ones are passed over.
 */
export type Question =
  /** `from`: the version that is changed; null: what is said is all. */
  | {
      readonly ask: 'publish'
      readonly from: string | null
      readonly to: string
      readonly changes: NameChanges
    }
  | { readonly ask: 'counts' }

export type Reply =
  | { readonly kind: 'published' }
  /** It has another version than the one that would be changed: all of it must be said. */
  | { readonly kind: 'stale' }
  | { readonly kind: 'counts'; readonly counts: NameServerCounts }

const id = z.int().check(z.nonnegative())
const strings = z.array(z.string())

/** Fifteen thousand names: by the schema library their check would take longer than all else. */
function mapOf(isValue: (value: unknown) => boolean) {
  return z.custom<Readonly<Record<string, unknown>>>(
    (value) =>
      typeof value === 'object' &&
      value !== null &&
      Object.values(value).every((each) => each === null || isValue(each)),
  )
}

const changes = z.pipe(
  z.object({
    networks: z.array(
      z.object({
        id: z.string(),
        subnet: z.string(),
        isInternal: z.boolean(),
        names: mapOf((value) => isAnswer(value)),
        reverse: mapOf((value) => typeof value === 'string'),
      }),
    ),
    goneNetworks: strings,
    clients: z.optional(z.array(z.object({ addresses: strings, networks: strings, nameservers: strings }))),
  }),
  z.transform((read) => read as unknown as NameChanges),
)

function isAnswer(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    'addresses' in value &&
    'local' in value &&
    typeof value.local === 'number' &&
    Array.isArray(value.addresses) &&
    value.addresses.every((address) => typeof address === 'string')
  )
}

const question = z.discriminatedUnion('ask', [
  z.object({ ask: z.literal('hello'), id }),
  z.object({ ask: z.literal('publish'), id, from: z.nullable(z.string()), to: z.string(), changes }),
  z.object({ ask: z.literal('counts'), id }),
  z.object({ ask: z.literal('retire'), id }),
  z.object({ ask: z.literal('end'), id }),
])

const reply = z.discriminatedUnion('kind', [
  z.object({ id, kind: z.literal('hello'), pid: z.int(), program: z.string(), port: z.int() }),
  z.object({ id, kind: z.literal('published') }),
  z.object({ id, kind: z.literal('stale') }),
  z.object({ id, kind: z.literal('counts'), counts: z.record(z.string(), z.number()) }),
  z.object({ id, kind: z.literal('gone') }),
  z.object({ id, kind: z.literal('failed'), why: z.string() }),
])

const kept = z.object({ changes })

export const nameServerWire: Wire<Question, Reply> = {
  readQuestion: (text) => question.parse(JSON.parse(text)),
  readReply(text) {
    const read = reply.parse(JSON.parse(text))
    return read.kind === 'counts' ? { ...read, counts: { ...nothingCounted, ...read.counts } } : read
  },
  writeQuestion: (id, asked) => frame({ ...asked, id }),
  writeReply: (id, answer) => frame({ ...answer, id }),
}

/** A table as it is kept for a next process: as what makes it of an empty one. */
export function readKept(text: string): NameChanges {
  return kept.parse(JSON.parse(text)).changes
}

export function writeKept(changes: NameChanges): string {
  return JSON.stringify({ changes })
}
