/** Typed errors of the agent itself; those of a port stand beside the port. */
export class NotInClusterError extends Error {
  readonly code = 'ERR_NOT_IN_CLUSTER'
  override name = 'NotInClusterError'
  constructor() {
    // Begins as Docker's own text does, since clients show it and some look for it.
    super(
      'This node is not a swarm manager. Use "docker swarm init" or "moot init" to begin a cluster here, or "moot join TOKEN" to join one.',
    )
  }
}

export class AlreadyInClusterError extends Error {
  readonly code = 'ERR_ALREADY_IN_CLUSTER'
  override name = 'AlreadyInClusterError'
  constructor(clusterId: string) {
    super(`This node is already part of a swarm (${clusterId}). Use "docker swarm leave" to leave it first.`)
  }
}

export class LastNodeError extends Error {
  readonly code = 'ERR_LAST_NODE'
  override name = 'LastNodeError'
  constructor() {
    super(
      'This is the only node that holds the cluster: leaving it loses every spec. Use --force if you mean that.',
    )
  }
}

export class CutOffError extends Error {
  readonly code = 'ERR_CUT_OFF'
  override name = 'CutOffError'
  constructor() {
    super(
      'No other node can be reached now: nobody would hear that this one leaves, and what was written here alone would be lost. Reconnect it first; or use --force here, and remove it at another node (docker node rm --force).',
    )
  }
}

export class LastVoterError extends Error {
  readonly code = 'ERR_LAST_VOTER'
  override name = 'LastVoterError'
  constructor() {
    super(
      'Without this node no majority of voters would be left, and no other could take over its vote in time: exclusive services would stop everywhere. Try again in a few seconds; look at "moot voters"; or use --force, and name voters by "moot voters force" at another node.',
    )
  }
}

/** Nothing was changed. */
export class EngineAwayError extends Error {
  readonly code = 'ERR_ENGINE_AWAY'
  override name = 'EngineAwayError'
  constructor(detail: string) {
    super(
      `This node's containers cannot be stopped: ${detail}. It stays a member. Try again when Docker is back; or use --force to leave all the same: containers that run then are left behind, beside their replacements on other nodes.`,
    )
  }
}

/** Nothing was changed: others take this node for a member, and this node cannot tell them otherwise. */
export class OwnDocumentLostError extends Error {
  readonly code = 'ERR_OWN_DOCUMENT_LOST'
  override name = 'OwnDocumentLostError'
  constructor() {
    super(
      "This node has lost its own entry among the members, and waits for another node's copy: without it the others would not hear that it leaves. Try again in a few seconds; or use --force here, and remove it at another node (docker node rm --force).",
    )
  }
}

export class StillStoppingError extends Error {
  readonly code = 'ERR_STILL_STOPPING'
  override name = 'StillStoppingError'
  constructor(why: string) {
    super(
      `This node is no member of its cluster any more, and some of its containers have not been stopped and removed yet (${why}). It goes on with that by itself, also when Docker comes back later: try again then; or use "moot leave --force" to leave them behind.`,
    )
  }
}

export class LeavingError extends Error {
  readonly code = 'ERR_LEAVING'
  override name = 'LeavingError'
  constructor() {
    super(
      'This node left the cluster before any other node had stored the change: it is lost. Make it again at another node.',
    )
  }
}

export class NetworkHereOnlyError extends Error {
  readonly code = 'ERR_NETWORK_HERE_ONLY'
  override name = 'NetworkHereOnlyError'
  constructor() {
    super(
      'This host cannot have networks that reach over hosts (the log of its agent says why): single containers cannot be attached to cluster networks here.',
    )
  }
}

/** This address cannot be had here, whatever one waits for. */
export class AddressRefusedError extends Error {
  readonly code = 'ERR_ADDRESS_REFUSED'
  override name = 'AddressRefusedError'
}

export class NoAddressError extends Error {
  readonly code = 'ERR_NO_ADDRESS'
  override name = 'NoAddressError'
  constructor(why: string) {
    super(`no address for this container: ${why}`)
  }
}

export class JoinFailedError extends Error {
  readonly code = 'ERR_JOIN_FAILED'
  override name = 'JoinFailedError'
}

export class ForeignClusterError extends Error {
  readonly code = 'ERR_FOREIGN_CLUSTER'
  override name = 'ForeignClusterError'
}

export class BothCopiesDamagedError extends Error {
  readonly code = 'ERR_BOTH_COPIES_DAMAGED'
  override name = 'BothCopiesDamagedError'
  constructor(path: string) {
    super(
      `${path} and ${path}.copy are both damaged: restore one of them from a backup, or remove the data directory and join as a new node`,
    )
  }
}

export class DirectoryInUseError extends Error {
  readonly code = 'ERR_DIRECTORY_IN_USE'
  override name = 'DirectoryInUseError'
  constructor(directory: string) {
    super(
      `another agent runs with the data directory ${directory}: stop it first, or give this one a directory of its own with --data-dir`,
    )
  }
}

export class SocketInUseError extends Error {
  readonly code = 'ERR_SOCKET_IN_USE'
  override name = 'SocketInUseError'
  constructor(path: string) {
    super(`another program answers on ${path}: stop it first, or give this agent another path with --socket`)
  }
}
