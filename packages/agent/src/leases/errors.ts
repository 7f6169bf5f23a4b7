import type { NodeId } from '@moot/crdt-state'

export class NoVoterError extends Error {
  readonly code = 'ERR_NO_VOTER'
  override name = 'NoVoterError'
  constructor(node: NodeId) {
    super(
      `Node ${node} cannot vote: its record does not say where it would keep its promises. Start its agent, or upgrade it, and try again; or name other nodes.`,
    )
  }
}

export class NewerVotersError extends Error {
  readonly code = 'ERR_NEWER_VOTERS'
  override name = 'NewerVotersError'
  constructor() {
    super(
      'Another node knows voters that were named by force, and this node has not heard who they are yet. Look at "moot voters" there, or try again in a few seconds.',
    )
  }
}
