import * as z from 'zod'
import { stateDefaults } from '../defaults.ts'
import {
  changesOf,
  type Document,
  headsOf,
  merged,
  MissingChangesError,
  readingActor,
  withDocument,
} from '../document/automerge.ts'
import type { DocumentName, LiveDocument } from '../document/live-document.ts'
import { covers, isOwnLeave, isSigned, supersedes, tombstoneSchema } from '../document/tombstone.ts'
import { resourceId } from '../hash.ts'
import type { Identity } from '../keys.ts'
import { specKinds } from '../schema/kinds.ts'
import type { ReceiveOutcome, SpecMessage, Tombstone } from '../spec-store.ts'
import type { Staging } from './staging.ts'
import { atRest } from './writing.ts'

/** Base64 of a document of the greatest size, and a little. */
const textMax = Math.ceil((stateDefaults.maxDocumentBytes * 4) / 3) + 1_024
const messageSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('changes'),
    kind: z.enum(specKinds),
    name: z.string().min(1).max(1_024),
    incarnation: z.number().int().min(1).max(0xffff_ffff),
    changes: z.array(z.base64().max(textMax)).max(100_000).optional(),
    document: z.base64().max(textMax).optional(),
  }),
  z.object({ type: z.literal('tombstone'), tombstone: tombstoneSchema }),
])

export interface MergeRules {
  readonly identity: Identity
  readonly clusterId: string
  /** May this key remove things? Members and former members may. */
  readonly trust: (publicKey: Uint8Array) => boolean
}

/** Stages what one message brings. Never throws on what a peer may send. */
export function stageMessage(staging: Staging, message: SpecMessage, rules: MergeRules): ReceiveOutcome {
  const parsed = messageSchema.safeParse(message)
  if (!parsed.success) return refused(z.prettifyError(parsed.error).slice(0, 500))
  const checked = parsed.data
  return checked.type === 'tombstone'
    ? stageTombstone(staging, checked.tombstone, rules)
    : stageChanges(staging, checked)
}

function stageTombstone(
  staging: Staging,
  tombstone: Tombstone,
  { identity, clusterId, trust }: MergeRules,
): ReceiveOutcome {
  const known = staging.tombstone(tombstone.kind, tombstone.name)
  if (!supersedes(tombstone, known)) return { kind: 'known' }
  if (!isSigned(identity, clusterId, tombstone)) {
    return refused(`the removal of ${tombstone.kind} ${tombstone.name} has a bad signature`)
  }
  if (!isOwnLeave(tombstone) && !trust(Buffer.from(tombstone.publicKey, 'base64'))) {
    return refused(`the removal of ${tombstone.kind} ${tombstone.name} is signed by no member`)
  }
  staging.bury(tombstone, (document) => hasUnseenEdit(document, tombstone))
  return { kind: 'applied' }
}

function hasUnseenEdit(document: LiveDocument, tombstone: Tombstone): boolean {
  if (document.incarnation < tombstone.incarnation) return false
  return !withDocument(document.bytes, readingActor, (opened) => covers(tombstone, changesOf(opened)))
}

type ChangesMessage = Extract<z.infer<typeof messageSchema>, { type: 'changes' }>

function stageChanges(staging: Staging, message: ChangesMessage): ReceiveOutcome {
  const { kind, name, incarnation } = message
  const tombstone = staging.tombstone(kind, name)
  const id = resourceId(kind, name, incarnation)
  if (tombstone !== undefined && tombstone.incarnation >= incarnation) {
    if (tombstone.incarnation === incarnation) keepLostEdit(staging, message, tombstone)
    return { kind: 'removed', tombstone }
  }
  const result = mergeInto(staging.document(id), message)
  if (result.kind !== 'merged') return result
  staging.put(result.document)
  return { kind: 'applied' }
}

/** The edit lost against the removal, but `restore` shall find it. */
function keepLostEdit(staging: Staging, message: ChangesMessage, tombstone: Tombstone): void {
  const grave = staging.grave(resourceId(message.kind, message.name, message.incarnation))
  const result = mergeInto(grave?.document, message)
  if (result.kind !== 'merged') return
  if (hasUnseenEdit(result.document, tombstone)) staging.lostEdit(result.document)
  // Nobody lost anything: it is what the remover had seen, and this node had not.
  else staging.keepGrave(result.document)
}

type MergeResult =
  | { readonly kind: 'merged'; readonly document: LiveDocument }
  | { readonly kind: 'known' }
  | { readonly kind: 'gap' }
  | { readonly kind: 'refused'; readonly reason: string }

function mergeInto(current: LiveDocument | undefined, message: ChangesMessage): MergeResult {
  try {
    return withDocument(current?.bytes, readingActor, (opened) => {
      const before = headsOf(opened)
      const document = mergedWith(opened, message)
      const after = headsOf(document)
      if (current !== undefined && after.join() === before.join()) return { kind: 'known' }
      const problem = foreignness(document)
      if (problem !== undefined) return refused(problem)
      return { kind: 'merged', document: atRest(nameOf(message), document) }
    })
  } catch (error) {
    if (error instanceof MissingChangesError) return { kind: 'gap' }
    return refused(error instanceof Error ? error.message : String(error))
  }
}

function mergedWith(opened: Document, message: ChangesMessage): Document {
  const whole =
    message.document === undefined
      ? opened
      : merged(opened, { document: Buffer.from(message.document, 'base64') })
  if (message.changes === undefined) return whole
  return merged(whole, { changes: message.changes.map((change) => Buffer.from(change, 'base64')) })
}

/** What Automerge would merge, and what is yet no document of ours. */
function foreignness(document: Document): string | undefined {
  const changes = changesOf(document)
  if (changes.length === 0) return 'an empty document'
  if (changes.some(({ deps }) => deps.length === 0)) return 'a document with a beginning of its own'
  return undefined
}

function nameOf({ kind, name, incarnation }: ChangesMessage): DocumentName {
  return { kind, name, incarnation }
}

function refused(reason: string): { readonly kind: 'refused'; readonly reason: string } {
  return { kind: 'refused', reason }
}
