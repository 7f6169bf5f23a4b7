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
      `cannot store ${what}: ${cause instanceof Error ? cause.message : String(cause)}; nothing was changed`,
      { cause },
    )
  }
}
