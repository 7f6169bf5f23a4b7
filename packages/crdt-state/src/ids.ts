/**
 * Branded identifiers: mixing two of them up does not compile.
 *
 * All Docker-facing ids are 25 characters of base 36 (0-9 a-z), the shape that swarmkit gives its ids
 * (moby/swarmkit identity/randomid.go), so that clients that check an id's form accept ours.
 */
declare const brand: unique symbol
/** An object of flags, so that a narrower id (`ServiceId`) can be a wider one (`ResourceId`) too. */
export type Brand<T, B extends string> = T & { readonly [brand]: { readonly [K in B]: true } }

/** 25 base-36 characters of SHA-256 over a node's raw 32-byte ed25519 public key. */
export type NodeId = Brand<string, 'NodeId'>
/** 25 base-36 characters of SHA-256 over (kind, name, incarnation): equal on every side of a partition. */
export type ResourceId = Brand<string, 'ResourceId'>
/** The `ResourceId` of a document of kind `service`. */
export type ServiceId = ResourceId & Brand<string, 'ServiceId'>
export type TaskId = Brand<string, 'TaskId'>
/** `<ServiceId>.<n>` for the n-th replica (n ≥ 1), `<ServiceId>.<NodeId>` for a global service's slot on that node. */
export type SlotId = Brand<string, 'SlotId'>
/** Hex SHA-256 prefix of what a task runs: two tasks with one digest are interchangeable. */
export type SpecDigest = Brand<string, 'SpecDigest'>
/** What an update leads to: what its tasks run, and where they may. */
export type UpdateKey = Brand<string, 'UpdateKey'>
export type ContainerId = Brand<string, 'ContainerId'>
/** Of one container's place on one network, drawn at random when it is asked for. */
export type GuestId = Brand<string, 'GuestId'>

/** A slot's number from 1, or the node for a global service. */
export type Slot = number | NodeId

export function slotId(service: ServiceId, slot: Slot): SlotId {
  return `${service}.${slot}` as SlotId
}

/** The inverse of `slotId`. */
export function parseSlotId(id: SlotId): { service: ServiceId; slot: Slot } {
  const dot = id.indexOf('.')
  const rest = id.slice(dot + 1)
  // A NodeId is always 25 characters; a replica number never is (it would exceed 2^53).
  const slot: Slot = rest.length === 25 ? (rest as NodeId) : Number(rest)
  return { service: id.slice(0, dot) as ServiceId, slot }
}
