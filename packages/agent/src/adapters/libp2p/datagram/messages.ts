import type { NodeId } from '@moot/crdt-state'
import type { Defaults } from '../../../defaults.ts'

/** An IP address and a port. */
export interface Door {
  readonly host: string
  readonly port: number
}

/** What the thread is started with. */
export interface ThreadSetup {
  readonly self: NodeId
  readonly clusterTag: string
  /** Where it listens. */
  readonly door: Door
  readonly settings: Defaults
  /** See `SharedCells`. */
  readonly shared: SharedArrayBuffer
}

export interface ThreadMember {
  readonly node: NodeId
  readonly tag: number
}

export type ToThread =
  /** All of them: whoever is missing is forgotten, and its key too. */
  | { readonly kind: 'members'; readonly members: readonly ThreadMember[] }
  | { readonly kind: 'key'; readonly node: NodeId; readonly key: Uint8Array }
  /** At all of these doors at once; the first answer counts. */
  | {
      readonly kind: 'ask'
      readonly id: number
      readonly node: NodeId
      readonly doors: readonly Door[]
      readonly timeoutMs: number
    }

export type FromThread =
  | { readonly kind: 'bound' }
  /** The port cannot be had now; it is tried again. */
  | { readonly kind: 'unbound'; readonly why: string }
  /** Somebody asks as this member, whose key the thread does not have. */
  | { readonly kind: 'wanted'; readonly node: NodeId }
  | {
      readonly kind: 'answered'
      readonly id: number
      /** Where the question that it answers went. */
      readonly door: Door
      readonly roundTripMs: number
      /** How long ago the main loop of the one asked gave its last sign of life. */
      readonly ageMs: number
    }
  /** In time, or it could not be sent at all. */
  | { readonly kind: 'unanswered'; readonly id: number }
