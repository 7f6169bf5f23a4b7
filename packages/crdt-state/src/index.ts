/**
 * The state that all agents share: specs (Automerge documents, one per resource) and records (what a node says of
 * itself). No network, no Docker.
 *
 * @example
 * const storage = openSqliteStorage({ path: '/var/lib/moot/state.db' })
 * const specs = await openSpecStore({ storage, identity, clusterId, newActor: () => randomBytes(16).toString('hex') })
 * const { resource, messages } = await specs.create('service', 'web', spec, author) // fsynced here; gossip `messages`
 */
export * from './canonical-json.ts'
export { addressFact, type Drawn, drawnFacts, type DrawnFacts } from './document/address-fact.ts'
export { changedFields, sameJson } from './document/diff.ts'
export { failureOf, resumedTimes, type UpdateFailure, updateFact } from './document/effective.ts'
export { type AskedMove, askedMoves, moveFact } from './document/move-fact.ts'
export { type WayBack, wayBack, wayBackWithRelease } from './document/way-back.ts'
export * from './defaults.ts'
export * from './ids.ts'
export * from './errors.ts'
export * from './hash.ts'
export * from './identity.ts'
export * from './keys.ts'
export * from './memory-storage.ts'
export * from './partition.ts'
export * from './record.ts'
export * from './record-store.ts'
export * from './release.ts'
export {
  type OpenedRecordStore,
  openRecordStore,
  type RecordStoreOptions,
} from './records/open-record-store.ts'
export * from './schema/kinds.ts'
export * from './schema/resources.ts'
export * from './schema/service.ts'
export * from './spec-digest.ts'
export * from './spec-store.ts'
export { openSpecStore, type SpecStoreOptions } from './specs/open-spec-store.ts'
export * from './sqlite-storage.ts'
export * from './storage.ts'
