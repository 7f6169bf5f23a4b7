/** Errors of the Engine port, one class per cause: `core` is told `engine`, `rejected` or `failed` by the class alone. */

/** The engine does not answer (not running, restarting, hung): nothing is known about what it did. Try again later. */
export class EngineUnavailableError extends Error {
  readonly code = 'ERR_ENGINE_UNAVAILABLE'
  override name = 'EngineUnavailableError'
  constructor(detail: string, cause?: unknown) {
    super(
      `the Docker engine does not answer (${detail}): check that dockerd runs on this node`,
      cause === undefined ? undefined : { cause },
    )
  }
}

/** This node cannot run this spec, and trying again here will not help: place the slot elsewhere, or change the spec. */
export class TaskRejectedError extends Error {
  readonly code = 'ERR_TASK_REJECTED'
  override name = 'TaskRejectedError'
  constructor(reason: string, cause?: unknown) {
    super(reason, cause === undefined ? undefined : { cause })
  }
}

/** Containers are still on a bridge that is in a network's way: its own former one, or that of a network which is gone. Try again when they have stopped. */
export class BridgeInUseError extends Error {
  readonly code = 'ERR_BRIDGE_IN_USE'
  override name = 'BridgeInUseError'
  constructor(network: string) {
    super(
      `network ${network}: containers are still on a bridge of this node that is in its way, with a former subnet or address; its own is made when they have stopped`,
    )
  }
}

/** The engine answered with an error that is neither of the above: `status` and the message are Docker's. */
export class EngineCallError extends Error {
  readonly code = 'ERR_ENGINE_CALL'
  override name = 'EngineCallError'
  readonly status: number
  constructor(status: number, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.status = status
  }
}

/** What `ActionResult.cause` says of an error of this port. */
export function failureCause(error: unknown): 'rejected' | 'failed' | 'engine' {
  if (error instanceof TaskRejectedError) return 'rejected'
  if (error instanceof EngineUnavailableError || error instanceof BridgeInUseError) return 'engine'
  return 'failed'
}
