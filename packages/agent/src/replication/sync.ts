import type * as z from 'zod'
import { createHash } from 'node:crypto'
import type { NodeId, RecordMessage, RecordVersion, SpecDigestEntries, SpecMessage } from '@moot/crdt-state'
import { sendBack } from './commit.ts'
import type { Exchange } from './exchange.ts'
import {
  compareAnswerSchema,
  digestFromWire,
  digestToWire,
  entriesFromWire,
  entriesToWire,
  fetchSchema,
  page,
  pushedAnswerSchema,
  recordsAnswerSchema,
  specsAnswerSchema,
  type SyncStep,
  syncSchema,
  commitAnswerSchema,
} from './wire.ts'

/** JSON of one step: half of what the mesh takes, since a page is measured before it is wrapped. */
function stepBytes(exchange: Exchange): number {
  return Math.floor(exchange.settings.maxMessageBytes / 2)
}

/** Members' records only: those of others are nobody's business, and stores that hold some would never look equal. */
function memberDigest(exchange: Exchange): Map<NodeId, RecordVersion> {
  return new Map([...exchange.records.digest()].filter(([node]) => exchange.member(node)))
}

function digestRoot(digest: ReadonlyMap<NodeId, RecordVersion>): string {
  const hash = createHash('sha256')
  const lines = [...digest].map(([node, { epoch, seq }]) => `${node} ${epoch}.${seq}\n`)
  for (const line of lines.sort()) hash.update(line)
  return hash.digest('hex')
}

/** Whole records that a peer with this digest lacks. `theirs` is brought up to what is returned. */
function recordsFor(
  exchange: Exchange,
  theirs: Map<NodeId, RecordVersion>,
  maxBytes: number,
): { readonly records: readonly RecordMessage[]; readonly more: boolean } {
  const found = exchange.records.newerThan(theirs, maxBytes)
  for (const { node, epoch, seq } of found) theirs.set(node, { epoch, seq })
  return {
    records: found.filter((message) => exchange.member(message.node)),
    more: found.length > 0 && exchange.records.newerThan(theirs, 1).length > 0,
  }
}

/** The answering side of a comparison: keeps nothing from step to step. */
export function serveSync(exchange: Exchange): () => void {
  const { specs } = exchange
  const offs = [
    exchange.serve('sync', syncSchema, async (_, step) => {
      switch (step.step) {
        case 'compare': {
          const digest = memberDigest(exchange)
          const tree = specs.digest()
          return {
            ...(tree.root === step.specs ? {} : { buckets: tree.buckets }),
            ...(digestRoot(digest) === step.records ? {} : { digest: digestToWire(digest) }),
          }
        }
        case 'specs': {
          const { send, want } = specs.diff(step.buckets, entriesFromWire(step.entries))
          const messages = page(send, stepBytes(exchange))
          return { messages, want, more: messages.length < send.length }
        }
        case 'records':
          return recordsFor(exchange, digestFromWire(step.digest), stepBytes(exchange))
        case 'push-records':
          exchange.receiveRecords(step.records)
          return {}
      }
    }),
    exchange.serve('fetch', fetchSchema, async (_, { ids }) => {
      const messages: SpecMessage[] = []
      let bytes = 0
      for (const [index, id] of ids.entries()) {
        // One at a time: whoever asks for everything does not make us load everything.
        const found = specs.fetch([id])
        bytes += JSON.stringify(found).length
        if (messages.length > 0 && bytes > stepBytes(exchange)) return { messages, rest: ids.slice(index) }
        messages.push(...found)
      }
      return { messages, rest: [] }
    }),
  ]
  return () => {
    for (const off of offs) off()
  }
}

/**
 * Compares this node's stores with a peer's and makes both hold what either had. Equal stores cost one small request.
 * Records go first: what a peer that was away has been asked for must not be placed anew before it is known that the peer
 * runs it. Then specs, and the records of the members that only these told of. Rejects when the peer cannot be asked to
 * the end.
 */
export async function syncWith(exchange: Exchange, peer: NodeId): Promise<void> {
  const steps = stepCounter(exchange.settings.syncStepsMax)
  const theirs = await compared(exchange, peer, steps)
  if (theirs.buckets === undefined) return
  const { buckets } = theirs
  const mine = exchange.specs.digest().buckets
  const differing = mine.flatMap((digest, bucket) => (buckets[bucket] === digest ? [] : [bucket]))
  for (const group of bucketGroups(exchange, differing)) await syncBuckets(exchange, peer, group, steps)
  // Both may know of more members now, whose records count from now on.
  await compared(exchange, peer, steps)
}

/** Asks whether the stores differ, and makes the records equal; the answer is what was asked. */
async function compared(
  exchange: Exchange,
  peer: NodeId,
  steps: () => boolean,
): Promise<z.infer<typeof compareAnswerSchema>> {
  const records = digestRoot(memberDigest(exchange))
  const compare: SyncStep = { step: 'compare', specs: exchange.specs.digest().root, records }
  const answer = await exchange.ask(peer, 'sync', compare, compareAnswerSchema)
  if (answer.digest !== undefined) {
    await pullRecords(exchange, peer, steps)
    await pushRecords(exchange, peer, digestFromWire(answer.digest), steps)
  }
  return answer
}

/** Counts down; false = enough for this comparison, the rest waits for the next. */
function stepCounter(max: number): () => boolean {
  let left = max
  return () => left-- > 0
}

/** Buckets whose entries fit into one message together. */
function* bucketGroups(exchange: Exchange, buckets: readonly number[]): Generator<readonly number[]> {
  let group: number[] = []
  let bytes = 0
  for (const bucket of buckets) {
    const size = JSON.stringify(entriesToWire(exchange.specs.entries([bucket]))).length
    if (group.length > 0 && bytes + size > stepBytes(exchange)) {
      yield group
      group = []
      bytes = 0
    }
    group.push(bucket)
    bytes += size
  }
  if (group.length > 0) yield group
}

async function syncBuckets(
  exchange: Exchange,
  peer: NodeId,
  buckets: readonly number[],
  step: () => boolean,
): Promise<void> {
  let want: readonly string[] = []
  while (step()) {
    const entries: SpecDigestEntries = exchange.specs.entries(buckets)
    const body: SyncStep = { step: 'specs', buckets: [...buckets], entries: entriesToWire(entries) }
    const answer = await exchange.ask(peer, 'sync', body, specsAnswerSchema)
    want = answer.want
    const received = await exchange.receiveSpecs(answer.messages)
    await exchange.fetchSpecs(peer, received.gaps)
    await sendBack(exchange, peer, received.removals)
    if (!answer.more || received.applied + received.gaps.length === 0) break
  }
  await pushSpecs(exchange, peer, want, step)
}

async function pushSpecs(
  exchange: Exchange,
  peer: NodeId,
  want: readonly string[],
  step: () => boolean,
): Promise<void> {
  let batch: SpecMessage[] = []
  let bytes = 0
  const send = async (): Promise<void> => {
    if (batch.length === 0 || !step()) return
    const messages = batch
    batch = []
    bytes = 0
    const answer = await exchange.ask(peer, 'commit', { messages }, commitAnswerSchema)
    await exchange.receiveSpecs(answer.removals)
  }
  for (const id of want) {
    const found = exchange.specs.fetch([id])
    const size = JSON.stringify(found).length
    if (bytes + size > stepBytes(exchange)) await send()
    batch.push(...found)
    bytes += size
  }
  await send()
}

async function pullRecords(exchange: Exchange, peer: NodeId, step: () => boolean): Promise<void> {
  const known = memberDigest(exchange)
  while (step()) {
    const body: SyncStep = { step: 'records', digest: digestToWire(known) }
    const answer = await exchange.ask(peer, 'sync', body, recordsAnswerSchema)
    exchange.receiveRecords(answer.records)
    // What was refused is not asked for again in this comparison.
    for (const { node, epoch, seq } of answer.records) known.set(node, { epoch, seq })
    if (!answer.more || answer.records.length === 0) return
  }
}

async function pushRecords(
  exchange: Exchange,
  peer: NodeId,
  theirs: Map<NodeId, RecordVersion>,
  step: () => boolean,
): Promise<void> {
  for (let more = true; more && step();) {
    const found = recordsFor(exchange, theirs, stepBytes(exchange))
    more = found.more
    if (found.records.length > 0) {
      const body: SyncStep = { step: 'push-records', records: [...found.records] }
      await exchange.ask(peer, 'sync', body, pushedAnswerSchema)
    }
  }
}
