import { EngineCallError, EngineUnavailableError, TaskRejectedError } from '../../ports/engine.errors.ts'

/** `create`, `pull`: the spec's first contact with this engine. `start`: of a container that the engine accepted. */
export type CallPurpose = 'create' | 'pull' | 'start' | 'other'

/** What Node says of a socket that nobody serves, or that broke. */
const brokenSocket = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'EPIPE',
  'EACCES',
  'ENOTSOCK',
  'ETIMEDOUT',
  'ECONNABORTED',
  'EAGAIN',
])

/** An engine that answers and cannot work: it is shutting down, or its containerd is gone. */
const unwell =
  /daemon is shutting down|containerd.*(?:connection refused|unavailable)|client connection is closing|transport is closing|dial unix .*containerd/i

/** The host cannot give what the container needs: no restart here helps, another node may have it. */
const hostLacks =
  /port is already allocated|address already in use|non-overlapping|pool overlaps|could not select device driver|no space left on device|is not a shared (?:or slave )?mount/i

/** Specs that Engine 20.10 refuses with status 500 (seen, see test/e2e/engine.test.ts); newer engines say 400. */
const badSpec =
  /plugin "?[^ "]+"? not found|error looking up (?:volume|logging) plugin|unknown runtime|invalid (?:argument|mount|volume|isolation|restart policy|log opt)|unknown log opt|logger: no log driver/i

interface ModemError {
  readonly statusCode?: number
  readonly code?: string
  readonly message?: string
}

/** Types an error of docker-modem by its cause. Docker's own words are kept: people search for them. */
export function classify(error: unknown, purpose: CallPurpose = 'other'): Error {
  const { statusCode, code, message = String(error) } = error as ModemError
  if (statusCode === undefined) {
    if ((code !== undefined && brokenSocket.has(code)) || /socket hang up|aborted/i.test(message)) {
      return new EngineUnavailableError(message, error)
    }
    return new EngineUnavailableError(`unintelligible answer: ${message}`, error)
  }
  const words = dockerMessage(message)
  if (unwell.test(words) || statusCode === 503) return new EngineUnavailableError(words, error)
  if (rejects(statusCode, words, purpose)) return new TaskRejectedError(words, error)
  return new EngineCallError(statusCode, words, error)
}

function rejects(status: number, words: string, purpose: CallPurpose): boolean {
  if (purpose === 'pull') return true
  // As in Swarm, a command that cannot be started is a failed task, not a refused one.
  if (purpose === 'start') return hostLacks.test(words)
  // A network that is not there was swept meanwhile: the caller makes it again.
  if (purpose === 'other' || isNetworkMissing(words)) return false
  return [400, 403, 404].includes(status) || badSpec.test(words) || hostLacks.test(words)
}

export function isNetworkMissing(words: string): boolean {
  return /network .*not found/i.test(words)
}

export function isStatus(error: unknown, ...statuses: readonly number[]): boolean {
  return error instanceof EngineCallError && statuses.includes(error.status)
}

/** docker-modem writes `(HTTP code 404) unexpected - No such image: x `: the words behind are the engine's. */
function dockerMessage(message: string): string {
  return (/^\(HTTP code \d+\) .*? - (.*)$/s.exec(message)?.[1] ?? message).trim()
}
