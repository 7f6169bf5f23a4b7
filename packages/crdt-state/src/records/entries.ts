import { createHash } from 'node:crypto'
import { sha256 } from '../hash.ts'
import type { GuestId, NodeId, ResourceId, ServiceId, TaskId } from '../ids.ts'
import type {
  Alert,
  BlockClaims,
  GuestEntry,
  NodeRecord,
  NodeStatus,
  Rejection,
  TaskEntry,
  UpdateFacts,
} from '../record.ts'
import { type DecodedEntry, decodeEntry } from './decode-entry.ts'

/** One entry: its canonical text, the text's hash, and what it says, decoded once. */
interface Entry {
  readonly text: string
  readonly hash: Buffer
  /** Undefined: of a kind that this agent does not know; it is kept and passed on. */
  readonly decoded: DecodedEntry | undefined
}

/** The entries of one record at one version. Immutable; unchanged entries are shared with the version before. */
export class RecordEntries {
  static readonly empty = new RecordEntries(new Map(), 0, undefined)
  readonly #entries: ReadonlyMap<string, Entry>
  readonly #views: Views
  /** Of keys and texts. */
  readonly bytes: number
  #hash: string | undefined

  private constructor(entries: ReadonlyMap<string, Entry>, bytes: number, before: Views | undefined) {
    this.#entries = entries
    this.#views = viewsOf(entries, before)
    this.bytes = bytes
  }

  text(key: string): string | undefined {
    return this.#entries.get(key)?.text
  }

  keys(): readonly string[] {
    return [...this.#entries.keys()]
  }

  texts(): Readonly<Record<string, string>> {
    return Object.fromEntries([...this.#entries].map(([key, { text }]) => [key, text]))
  }

  with(changes: Iterable<readonly [string, string | null]>): RecordEntries {
    const entries = new Map(this.#entries)
    let bytes = this.bytes
    for (const [key, text] of changes) {
      const old = entries.get(key)
      if (old !== undefined) bytes -= sizeOf(key, old.text)
      if (text === null) entries.delete(key)
      else if (old?.text === text) bytes += sizeOf(key, text)
      else {
        entries.set(key, { text, hash: sha256(`${key}\0${text}`), decoded: decodeEntry(key, text) })
        bytes += sizeOf(key, text)
      }
    }
    return new RecordEntries(entries, bytes, this.#views)
  }

  /** Of all entries, whatever the order in which they came. Hashes of unchanged entries are not made again. */
  hash(): string {
    if (this.#hash !== undefined) return this.#hash
    const all = createHash('sha256')
    for (const key of [...this.#entries.keys()].sort()) all.update(this.#entries.get(key)?.hash ?? '')
    this.#hash = all.digest('hex')
    return this.#hash
  }

  record(node: NodeId, epoch: number, seq: number): NodeRecord {
    return { node, epoch, seq, ...this.#views }
  }
}

type Views = Pick<NodeRecord, 'status' | 'tasks' | 'alerts' | 'updates' | 'rejections' | 'blocks' | 'guests'>

function viewsOf(entries: ReadonlyMap<string, Entry>, before: Views | undefined): Views {
  let status: NodeStatus | undefined
  const tasks = new Map<TaskId, TaskEntry>()
  const alerts = new Map<NodeId, Alert>()
  const updates = new Map<ServiceId, UpdateFacts>()
  const rejections = new Map<ServiceId, Rejection>()
  const blocks = new Map<ResourceId, BlockClaims>()
  const guests = new Map<GuestId, GuestEntry>()
  for (const { decoded } of entries.values()) {
    if (decoded?.kind === 'status') status = decoded.value
    else if (decoded?.kind === 'task') tasks.set(decoded.value.id, decoded.value)
    else if (decoded?.kind === 'alert') alerts.set(decoded.value.target, decoded.value)
    else if (decoded?.kind === 'update') updates.set(decoded.value.service, decoded.value)
    else if (decoded?.kind === 'rejection') rejections.set(decoded.value.service, decoded.value)
    else if (decoded?.kind === 'block') blocks.set(decoded.value.network, decoded.value)
    else if (decoded?.kind === 'guest') guests.set(decoded.value.id, decoded.value)
  }
  return {
    status,
    tasks: kept(before?.tasks, tasks),
    alerts: kept(before?.alerts, alerts),
    updates: kept(before?.updates, updates),
    rejections: kept(before?.rejections, rejections),
    blocks: kept(before?.blocks, blocks),
    guests: kept(before?.guests, guests),
  }
}

/** The map of the version before, where nothing in it changed: `===` tells readers that there is nothing to do. */
function kept<K, V>(before: ReadonlyMap<K, V> | undefined, after: ReadonlyMap<K, V>): ReadonlyMap<K, V> {
  if (before === undefined || before.size !== after.size) return after
  for (const [key, value] of after) if (before.get(key) !== value) return after
  return before
}

function sizeOf(key: string, text: string): number {
  return Buffer.byteLength(key) + Buffer.byteLength(text)
}
