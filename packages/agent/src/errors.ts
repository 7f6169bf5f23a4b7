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
