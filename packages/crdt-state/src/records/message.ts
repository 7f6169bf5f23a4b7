import * as z from 'zod'
import { canonicalJson } from '../canonical-json.ts'
import { nodeIdOf } from '../hash.ts'
import type { NodeId } from '../ids.ts'
import { bytesInBase64 } from '../identity.ts'
import type { Identity } from '../keys.ts'
import type { RecordMessage, RecordVersion } from '../record-store.ts'
import type { RecordEntries } from './entries.ts'

const counter = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const messageSchema = z.object({
  node: z.string().length(25),
  epoch: counter,
  seq: counter,
  from: counter.optional(),
  entries: z.record(z.string().min(1).max(1_024), z.string().nullable()),
  publicKey: z.string().length(44),
  signature: z.string().length(88),
})

/** One record at one version, with the proof that its node said so. */
export interface SignedRecord extends RecordVersion {
  readonly node: NodeId
  readonly entries: RecordEntries
  readonly publicKey: string
  readonly signature: string
}

export function compareVersions(a: RecordVersion, b: RecordVersion): number {
  return a.epoch - b.epoch || a.seq - b.seq
}

export function signRecord(
  identity: Identity,
  clusterId: string,
  { epoch, seq }: RecordVersion,
  entries: RecordEntries,
): SignedRecord {
  const node = nodeIdOf(identity.publicKey)
  const signature = identity.sign(signedBytes(clusterId, node, { epoch, seq }, entries))
  return {
    node,
    epoch,
    seq,
    entries,
    publicKey: Buffer.from(identity.publicKey).toString('base64'),
    signature: Buffer.from(signature).toString('base64'),
  }
}

/** All entries are signed, by their hash: whoever applied a delta rightly can check the whole. */
function signedBytes(
  clusterId: string,
  node: NodeId,
  { epoch, seq }: RecordVersion,
  entries: RecordEntries,
): Uint8Array {
  return Buffer.from(canonicalJson(['moot record 1', clusterId, node, epoch, seq, entries.hash()]))
}

export function isSignedRecord(identity: Identity, clusterId: string, record: SignedRecord): boolean {
  const { node, entries, publicKey, signature } = record
  const key = bytesInBase64(publicKey)
  const proof = bytesInBase64(signature)
  if (key === undefined || proof === undefined) return false
  return identity.verify(key, signedBytes(clusterId, node, record, entries), proof)
}

export function wholeMessage({
  node,
  epoch,
  seq,
  entries,
  publicKey,
  signature,
}: SignedRecord): RecordMessage {
  return { node, epoch, seq, entries: entries.texts(), publicKey, signature }
}

export function deltaMessage(
  { node, epoch, seq, publicKey, signature }: SignedRecord,
  from: number,
  entries: Readonly<Record<string, string | null>>,
): RecordMessage {
  return { node, epoch, seq, from, entries, publicKey, signature }
}

/** The message, if it has a message's shape and its key is its node's; else why not. */
export function checkedMessage(message: RecordMessage): RecordMessage | { readonly reason: string } {
  const parsed = messageSchema.safeParse(message)
  if (!parsed.success) return { reason: z.prettifyError(parsed.error).slice(0, 500) }
  if (nodeIdOf(Buffer.from(parsed.data.publicKey, 'base64')) !== parsed.data.node) {
    return { reason: `the key is not that of node ${parsed.data.node}` }
  }
  return message
}

/** The changes that make `held` what the message says; undefined: a delta whose base is missing. */
export function entriesAfter(
  held: SignedRecord | undefined,
  base: RecordEntries,
  message: RecordMessage,
): RecordEntries | undefined {
  const said = Object.entries(message.entries)
  if (message.from === undefined) {
    const gone = base.keys().filter((key) => !Object.hasOwn(message.entries, key))
    return base.with([...gone.map((key) => [key, null] as const), ...said])
  }
  // Entries are whole values, so a delta may overlap what is already here.
  const follows =
    held !== undefined && held.epoch === message.epoch && message.from <= held.seq && held.seq < message.seq
  return follows ? base.with(said) : undefined
}
