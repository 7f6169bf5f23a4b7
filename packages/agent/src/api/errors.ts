/**
 * What went wrong with a request, as Docker's clients see it: a status and `{"message"}`. Thrown by handlers; the
 * typed errors of the state and of the agent are mapped here, so that no handler needs to know them all.
 */
export class ApiError extends Error {
  readonly code = 'ERR_API'
  override name = 'ApiError'
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, message)
}

export function notFound(kind: string, reference: string): ApiError {
  return new ApiError(404, `${kind} ${reference} not found`)
}

/** Docker's own words for what it cannot do, plus what to do instead. Nothing has been stored. */
export function notYet(message: string): ApiError {
  return new ApiError(501, message)
}

/** Statuses as in moby `api/server/httpstatus`: swarmkit's FailedPrecondition is 400, its Unknown 500. */
const statusByCode: Readonly<Record<string, number>> = {
  ERR_NAME_TAKEN: 409,
  ERR_NOT_FOUND: 404,
  ERR_STALE_VERSION: 500,
  ERR_ROLLBACK_UNAVAILABLE: 400,
  ERR_STORAGE_FAILED: 500,
  ERR_NOT_IN_CLUSTER: 503,
  ERR_ALREADY_IN_CLUSTER: 503,
  ERR_LAST_NODE: 503,
  ERR_CUT_OFF: 503,
  ERR_LAST_VOTER: 503,
  ERR_LEAVING: 503,
  ERR_ENGINE_AWAY: 503,
  ERR_OWN_DOCUMENT_LOST: 503,
  ERR_STILL_STOPPING: 503,
  ERR_NO_VOTER: 400,
  ERR_NEWER_VOTERS: 503,
  ERR_JOIN_FAILED: 400,
  ERR_FOREIGN_CLUSTER: 400,
  ERR_BAD_TOKEN: 400,
  ERR_TOKEN_REFUSED: 400,
  ERR_BAD_ADDRESS: 400,
  ERR_BAD_KEY: 500,
  ERR_RESOURCE_TOO_LARGE: 413,
  ERR_RECORD_TOO_LARGE: 413,
  ERR_STORE_CLOSED: 503,
  ERR_DEADLINE: 503,
  ERR_REQUEST_FAILED: 503,
  ERR_PEER_REFUSED: 400,
  ERR_PEER_UNREACHABLE: 503,
  ERR_ENGINE_UNAVAILABLE: 503,
  ERR_LOGS_UNAVAILABLE: 503,
  ERR_NETWORK_HERE_ONLY: 501,
  ERR_ADDRESS_REFUSED: 400,
  ERR_NO_ADDRESS: 503,
  ERR_TASK_REJECTED: 500,
  ERR_ENGINE_CALL: 500,
}

/** `undefined`: nobody foresaw this error; it is logged and told as a plain 500. */
export function answerFor(error: unknown): { readonly status: number; readonly message: string } | undefined {
  if (error instanceof ApiError) return { status: error.status, message: error.message }
  if (!(error instanceof Error) || !('code' in error)) return undefined
  const status = statusByCode[String(error.code)]
  if (status === undefined) return undefined
  // Docker's clients and scripts look for this prefix together with "update out of sequence".
  const prefix = error.code === 'ERR_STALE_VERSION' ? 'rpc error: code = Unknown desc = ' : ''
  return { status, message: prefix + error.message }
}
