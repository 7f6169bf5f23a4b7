/**
 * The state that all agents share: specs (Automerge documents, one per resource) and records (what a node says of
 * itself). No network, no Docker.
 */
export * from './ids.ts'
export * from './errors.ts'
export * from './keys.ts'
export * from './record.ts'
export * from './record-store.ts'
export * from './schema/resources.ts'
export * from './schema/service.ts'
export * from './spec-store.ts'
export * from './storage.ts'
