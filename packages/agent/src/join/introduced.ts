import type { Identity, NodeId, SpecStore } from '@moot/crdt-state'
import type { Logger } from 'pino'
import type { Defaults } from '../defaults.ts'
import { parseIntroduction, type Standing, vouches } from './introduction.ts'

/** Nodes that this one let in on their introductions: members whose documents may not have come yet. */
export interface Introduced {
  has(node: NodeId): boolean
  /** Remembers the node if its introduction vouches for it. */
  letIn(node: NodeId, publicKey: Uint8Array, introduction: Uint8Array): boolean
}

export function createIntroduced(options: {
  readonly clusterId: string
  readonly identity: Identity
  readonly specs: SpecStore
  readonly settings: Defaults
  readonly logger: Logger
  /** Believed to be a member while the store has lost who is one. */
  readonly isLostMember: (node: NodeId) => boolean
}): Introduced {
  const { clusterId, identity, specs, settings, logger } = options
  const nodes = new Set<NodeId>()

  /** Whoever was removed stays out, whatever it shows. */
  const has = (node: NodeId): boolean => nodes.has(node) && specs.tombstone('node', node) === undefined

  function standingOf(signer: NodeId): Standing {
    if (specs.byName('node', signer) !== undefined || options.isLostMember(signer)) return 'trusted'
    return specs.tombstone('node', signer) === undefined ? 'unknown' : 'former'
  }

  /** Of those whose documents have come, or were removed, the specs speak from then on. */
  function forgetKnown(): void {
    for (const node of nodes) {
      if (!has(node) || specs.byName('node', node) !== undefined) nodes.delete(node)
    }
  }

  return {
    has,
    letIn(node, publicKey, bytes) {
      if (specs.tombstone('node', node) !== undefined) return false
      forgetKnown()
      // It dials again, and the first comparison with those that are here makes room.
      if (nodes.size >= settings.introducedMax) return false
      const introduction = parseIntroduction(bytes)
      if (introduction === undefined) return false
      if (!vouches(introduction, publicKey, clusterId, standingOf, identity)) return false
      nodes.add(node)
      logger.info({ node }, 'a member that this node had not heard of was let in on its introduction')
      return true
    },
  }
}
