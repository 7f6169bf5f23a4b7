import { stateDefaults } from '../defaults.ts'
import { changesSince, knows, readingActor, withDocument } from '../document/automerge.ts'
import { changedFields } from '../document/diff.ts'
import type { LiveDocument } from '../document/live-document.ts'
import { signTombstone } from '../document/tombstone.ts'
import {
  NameTakenError,
  NotFoundError,
  RollbackUnavailableError,
  StaleVersionError,
  StoreClosedError,
} from '../errors.ts'
import { resourceId } from '../hash.ts'
import type { ResourceId } from '../ids.ts'
import { partitionFact } from '../partition.ts'
import type { Identity } from '../keys.ts'
import type { SpecKind, SpecOf } from '../schema/resources.ts'
import type {
  Author,
  HistoryEntry,
  ReceiveOutcome,
  Resource,
  Revise,
  SpecChange,
  SpecDigestEntries,
  SpecDigestTree,
  SpecMessage,
  SpecStore,
  Tombstone,
  Written,
} from '../spec-store.ts'
import type { Storage } from '../storage.ts'
import { type Damage, DamageList } from '../damage.ts'
import { loadSpecs } from './loading.ts'
import { stageMessage } from './merging.ts'
import { SpecIndex } from './spec-index.ts'
import { Staging } from './staging.ts'
import { historyOf, RecentVersions } from './versions.ts'
import { allFields, changesMessage, documentMessage, edited, fieldsToWrite, removalOf } from './writing.ts'

export interface SpecStoreOptions {
  readonly storage: Storage
  /** Signs removals. */
  readonly identity: Identity
  readonly clusterId: string
  /** A fresh Automerge actor: 32 random hex digits. Asked for at each opening, since sequence numbers may not recur. */
  readonly newActor: () => string
  /** A listener threw; the store goes on. */
  readonly onError?: ((error: unknown) => void) | undefined
  /** Whose removals count: members and former members. Everybody's where it is not given. */
  readonly trust?: ((publicKey: Uint8Array) => boolean) | undefined
}

/** Reads what the disk has. Damage is reported by `damage()`, never thrown. */
export async function openSpecStore(options: SpecStoreOptions): Promise<SpecStore> {
  return new DocumentSpecStore(options)
}

class DocumentSpecStore implements SpecStore {
  readonly #options: SpecStoreOptions
  readonly #index = new SpecIndex()
  readonly #damage = new DamageList()
  readonly #versions = new RecentVersions()
  readonly #listeners = new Set<(change: SpecChange) => void>()
  #actor: string
  /** Operations run one after the other: each sees the state that the one before it made durable. */
  #last: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(options: SpecStoreOptions) {
    this.#options = options
    this.#actor = options.newActor()
    loadSpecs(options.storage, this.#index, this.#damage)
  }

  get<K extends SpecKind>(kind: K, id: ResourceId): Resource<SpecOf[K]> | undefined {
    return this.#find(kind, id)?.resource as Resource<SpecOf[K]> | undefined
  }

  byName<K extends SpecKind>(kind: K, name: string): Resource<SpecOf[K]> | undefined {
    return this.#index.visible(kind, name)?.resource as Resource<SpecOf[K]> | undefined
  }

  all<K extends SpecKind>(kind: K): ReadonlyMap<ResourceId, Resource<SpecOf[K]>> {
    return this.#index.collection(kind) as ReadonlyMap<ResourceId, Resource<SpecOf[K]>>
  }

  tombstones(): readonly Tombstone[] {
    return this.#index.tombstones()
  }

  tombstone(kind: SpecKind, name: string): Tombstone | undefined {
    return this.#index.tombstone(kind, name)
  }

  wasRemoved(kind: SpecKind, id: ResourceId): boolean {
    return this.tombstones().some(
      (each) =>
        each.kind === kind &&
        Array.from({ length: each.incarnation }, (_, before) => before + 1).some(
          (incarnation) => resourceId(kind, each.name, incarnation) === id,
        ),
    )
  }

  create<K extends SpecKind>(
    kind: K,
    name: string,
    spec: SpecOf[K],
    author: Author,
  ): Promise<Written<SpecOf[K]>> {
    return this.#exclusively(() => this.#create(kind, name, spec, author))
  }

  async #create<K extends SpecKind>(
    kind: K,
    name: string,
    spec: SpecOf[K],
    author: Author,
  ): Promise<Written<SpecOf[K]>> {
    if (this.#index.visible(kind, name) !== undefined) throw new NameTakenError(kind, name)
    const removed = this.#index.tombstone(kind, name)
    const incarnation = (removed?.incarnation ?? 0) + 1
    const { document, message } = edited({ kind, name, incarnation }, undefined, {
      spec: allFields(spec),
      // In the same change: whoever has the document knows it, whether the removal has come or not.
      ...(removed?.exclusive !== undefined && {
        facts: new Map([[partitionFact.exclusive(removed.exclusive), true]]),
      }),
      action: 'create',
      author,
      actor: this.#actor,
    })
    await this.#commitDocument(document)
    return { resource: document.resource as Resource<SpecOf[K]>, messages: [message] }
  }

  update<K extends SpecKind>(
    kind: K,
    id: ResourceId,
    versionIndex: number,
    spec: SpecOf[K],
    author: Author,
    action: 'update' | 'rollback' = 'update',
    revise?: Revise<SpecOf[K]>,
  ): Promise<Written<SpecOf[K]>> {
    return this.#exclusively(async () => {
      const current = this.#shown(kind, id)
      if (action === 'rollback' && current.summary.previous === undefined) {
        throw new RollbackUnavailableError(current.name)
      }
      const base = this.#versions.baseOf(current, versionIndex)
      // What was before is another one by now. Facts make a new version too, and change nothing of that.
      const isStale = action === 'rollback' && changedFields(base, current.resource.spec).size > 0
      if (isStale) throw new StaleVersionError(kind, current.name)
      const fields = fieldsToWrite(current, base, spec, revise as Revise<SpecOf[SpecKind]> | undefined)
      if (fields.size === 0) return { resource: current.resource as Resource<SpecOf[K]>, messages: [] }
      const edit = { spec: fields, action, author, actor: this.#actor } as const
      const { document, message } = edited(current, current.bytes, edit)
      await this.#commitDocument(document)
      return { resource: document.resource as Resource<SpecOf[K]>, messages: [message] }
    })
  }

  addFact(
    kind: SpecKind,
    id: ResourceId,
    key: string,
    value: unknown,
    author: Author,
  ): Promise<readonly SpecMessage[]> {
    return this.addFacts(kind, id, new Map([[key, value]]), author)
  }

  addFacts(
    kind: SpecKind,
    id: ResourceId,
    facts: ReadonlyMap<string, unknown>,
    author: Author,
  ): Promise<readonly SpecMessage[]> {
    return this.#exclusively(async () => {
      const current = this.#shown(kind, id)
      // Facts only grow: what is said once stays.
      const fields = new Map([...facts].filter(([key]) => !current.resource.facts.has(key)))
      if (fields.size === 0) return []
      const edit = { facts: fields, action: 'fact', author, actor: this.#actor } as const
      const { document, message } = edited(current, current.bytes, edit)
      await this.#commitDocument(document)
      return [message]
    })
  }

  remove(kind: SpecKind, id: ResourceId, author: Author): Promise<readonly SpecMessage[]> {
    return this.#exclusively(async () => {
      const current = this.#shown(kind, id)
      const { identity, clusterId } = this.#options
      const tombstone = signTombstone(identity, clusterId, removalOf(current, author))
      const staging = new Staging(this.#index)
      staging.bury(tombstone, () => false)
      await this.#commit(staging, 'local')
      return [{ type: 'tombstone', tombstone }]
    })
  }

  restore<K extends SpecKind>(kind: K, name: string, author: Author): Promise<Written<SpecOf[K]>> {
    return this.#exclusively(async () => {
      const tombstone = this.#index.tombstone(kind, name)
      const grave = this.#index.graves.get(resourceId(kind, name, tombstone?.incarnation ?? 0))
      if (this.#index.visible(kind, name) === undefined && grave === undefined) {
        throw new NotFoundError(`removed ${kind}`, name)
      }
      return this.#create(kind, name, grave?.document.resource.spec as SpecOf[K], author)
    })
  }

  history<K extends SpecKind>(kind: K, id: ResourceId): readonly HistoryEntry<SpecOf[K]>[] {
    const document = this.#find(kind, id)
    if (document === undefined) return []
    return historyOf(document) as readonly HistoryEntry<SpecOf[K]>[]
  }

  receive(
    messages: readonly SpecMessage[],
    from: { readonly vouched: boolean } = { vouched: false },
  ): Promise<readonly ReceiveOutcome[]> {
    return this.#exclusively(async () => {
      const everybody = (): boolean => true
      const { identity, clusterId } = this.#options
      const trust = from.vouched ? everybody : (this.#options.trust ?? everybody)
      const outcomes: ReceiveOutcome[] = []
      for (let start = 0; start < messages.length; start += stateDefaults.messagesPerCommit) {
        const staging = new Staging(this.#index)
        for (const message of messages.slice(start, start + stateDefaults.messagesPerCommit)) {
          outcomes.push(stageMessage(staging, message, { identity, clusterId, trust }))
        }
        await this.#commit(staging, 'remote')
      }
      return outcomes
    })
  }

  digest(): SpecDigestTree {
    return this.#index.digest.digest()
  }

  entries(buckets: readonly number[]): SpecDigestEntries {
    return this.#index.digest.entries(buckets)
  }

  diff(
    buckets: readonly number[],
    theirs: SpecDigestEntries,
  ): { send: readonly SpecMessage[]; want: readonly string[] } {
    const send: SpecMessage[] = []
    const want = new Set<string>()
    const ours = this.entries(buckets)
    for (const [id, mine] of ours) {
      const other = theirs.get(id)
      if (other !== undefined && other.dead === mine.dead && other.heads.join() === mine.heads.join())
        continue
      if (other?.dead === true) want.add(id)
      const tombstone = this.#index.tombstoneById(id)
      const document = this.#index.document(id as ResourceId)
      if (tombstone !== undefined) send.push({ type: 'tombstone', tombstone })
      else if (document !== undefined && other?.dead !== true) {
        const { message, lacks } = updateFor(document, other?.heads)
        if (message !== undefined) send.push(message)
        if (lacks) want.add(id)
      }
    }
    for (const id of theirs.keys()) if (!ours.has(id)) want.add(id)
    return { send, want: [...want] }
  }

  fetch(documentIds: readonly string[]): readonly SpecMessage[] {
    return documentIds.flatMap((id): readonly SpecMessage[] => {
      const tombstone = this.#index.tombstoneById(id)
      if (tombstone !== undefined) return [{ type: 'tombstone', tombstone }]
      const document = this.#index.document(id as ResourceId)
      return document === undefined ? [] : [documentMessage(document)]
    })
  }

  subscribe(listener: (change: SpecChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  damage(): readonly Damage[] {
    return this.#damage.all()
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#last
    this.#listeners.clear()
  }

  #shown(kind: SpecKind, id: ResourceId): LiveDocument {
    const document = this.#find(kind, id)
    if (document === undefined) throw new NotFoundError(kind, id)
    return document
  }

  #find(kind: SpecKind, id: ResourceId): LiveDocument | undefined {
    const document = this.#index.document(id)
    if (document?.kind !== kind) return undefined
    return this.#index.visible(kind, document.name) === document ? document : undefined
  }

  async #commitDocument(document: LiveDocument): Promise<void> {
    const staging = new Staging(this.#index)
    staging.put(document)
    await this.#commit(staging, 'local')
  }

  async #commit(staging: Staging, origin: SpecChange['origin']): Promise<void> {
    const writes = staging.writes()
    if (writes.length === 0) return
    try {
      await this.#options.storage.commit(writes)
    } catch (error) {
      // The failed commit may yet be on the disk; its sequence number must not stand for two changes.
      this.#actor = this.#options.newActor()
      throw error
    }
    for (const { table, key } of writes) this.#damage.healed(table, key)
    for (const change of staging.apply(origin)) {
      if (change.after === undefined) this.#versions.forget(change.id)
      for (const resource of [change.before, change.after]) {
        if (change.after !== undefined && resource !== undefined) this.#versions.remember(resource)
      }
      this.#tell(change)
    }
  }

  #tell(change: SpecChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change)
      } catch (error) {
        this.#options.onError?.(error)
      }
    }
  }

  #exclusively<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new StoreClosedError())
    const result = this.#last.then(operation)
    this.#last = result.catch(() => undefined)
    return result
  }
}

/** What a peer with these heads lacks of a document, and whether it has something that we lack. */
function updateFor(
  document: LiveDocument,
  theirHeads: readonly string[] | undefined,
): { readonly message: SpecMessage | undefined; readonly lacks: boolean } {
  if (theirHeads === undefined) return { message: documentMessage(document), lacks: false }
  return withDocument(document.bytes, readingActor, (opened) => {
    const known = theirHeads.filter((head) => knows(opened, head))
    const lacks = known.length < theirHeads.length
    if (known.length === 0) return { message: documentMessage(document), lacks }
    const changes = changesSince(opened, known)
    return { message: changes.length === 0 ? undefined : changesMessage(document, changes), lacks }
  })
}
