/** One class per cause; `code` is stable, the message says what to do next. */
export class NameTakenError extends Error {
  readonly code = 'ERR_NAME_TAKEN'
  override name = 'NameTakenError'
  constructor(kind: string, name: string) {
    super(`a ${kind} named "${name}" exists already: choose another name, or update or remove that one`)
  }
}

export class NotFoundError extends Error {
  readonly code = 'ERR_NOT_FOUND'
  override name = 'NotFoundError'
  constructor(kind: string, reference: string) {
    super(`${kind} ${reference} not found`)
  }
}

export class StaleVersionError extends Error {
  readonly code = 'ERR_STALE_VERSION'
  override name = 'StaleVersionError'
  constructor(kind: string, name: string) {
    // The words that Docker's clients look for (swarmkit manager/state/store ErrSequenceConflict).
    super(
      `update out of sequence: ${kind} ${name} was changed meanwhile; read it again and repeat the change`,
    )
  }
}

export class RollbackUnavailableError extends Error {
  readonly code = 'ERR_ROLLBACK_UNAVAILABLE'
  override name = 'RollbackUnavailableError'
  constructor(name: string) {
    super(`service ${name} has no previous spec to roll back to`)
  }
}

export class StorageFailedError extends Error {
  readonly code = 'ERR_STORAGE_FAILED'
  override name = 'StorageFailedError'
  constructor(what: string, cause: unknown) {
    super(
      `cannot store ${what}: ${cause instanceof Error ? cause.message : String(cause)}; nothing was changed: check the disk of this node, or ask another node`,
      { cause },
    )
  }
}

export class BadKeyError extends Error {
  readonly code = 'ERR_BAD_KEY'
  override name = 'BadKeyError'
  constructor(bytes: number) {
    super(
      `the node's key has ${bytes} bytes instead of 32: restore the key file from a backup, or join as a new node`,
    )
  }
}

export class ResourceTooLargeError extends Error {
  readonly code = 'ERR_RESOURCE_TOO_LARGE'
  override name = 'ResourceTooLargeError'
  constructor(kind: string, name: string, bytes: number, maxBytes: number) {
    super(
      `${kind} ${name} with its history would take ${bytes} bytes (at most ${maxBytes}): make it smaller, or remove it and create it again`,
    )
  }
}

export class RecordTooLargeError extends Error {
  readonly code = 'ERR_RECORD_TOO_LARGE'
  override name = 'RecordTooLargeError'
  constructor(bytes: number, maxBytes: number) {
    super(`this node's record would take ${bytes} bytes (at most ${maxBytes}): run fewer tasks on it`)
  }
}

export class StoreClosedError extends Error {
  readonly code = 'ERR_STORE_CLOSED'
  override name = 'StoreClosedError'
  constructor() {
    super('the store is closed: the agent is stopping')
  }
}
