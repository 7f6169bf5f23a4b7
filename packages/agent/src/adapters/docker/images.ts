import pLimit from 'p-limit'
import { defaults } from '../../defaults.ts'
import { EngineUnavailableError, TaskRejectedError } from '../../ports/engine.errors.ts'
import type { DockerConnection } from './connection.ts'
import { isStatus } from './failure.ts'
import { jsonLines } from './json-lines.ts'
import { waitFor } from '../../shared-call.ts'

interface Progress {
  readonly error?: string
  readonly errorDetail?: { readonly message?: string }
}

/** Someone asks for an image: looked for, and pulled where it is not here. */
interface Wanted {
  readonly here: Promise<void>
  readonly stop: AbortController
  waiters: number
}

/** Images on this engine. One that is present is never pulled: nodes may have no registry, and tags move. */
export class Images {
  readonly #connection: DockerConnection
  /** Being had: tasks of one image that start together share one look and one pull. */
  readonly #wanted = new Map<string, Wanted>()
  readonly #looks = pLimit(defaults.engineInspectConcurrency)
  readonly #pulls = pLimit(defaults.enginePullConcurrency)

  constructor(connection: DockerConnection) {
    this.#connection = connection
  }

  /** The pull ends when its last waiter has given up. */
  async have(image: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const wanted = this.#wanted.get(image) ?? this.#want(image)
    wanted.waiters++
    try {
      await waitFor(wanted.here, signal)
    } finally {
      wanted.waiters--
      if (wanted.waiters === 0) {
        // Whoever comes next begins anew: this one is being cut short.
        this.#forget(image, wanted)
        wanted.stop.abort()
      }
    }
  }

  #want(image: string): Wanted {
    const stop = new AbortController()
    const here = this.#lookAndPull(image, stop.signal).finally(() => this.#forget(image, wanted))
    // Each waiter handles the outcome itself; what all gave up has nobody left to tell.
    here.catch(() => {})
    const wanted: Wanted = { here, stop, waiters: 0 }
    this.#wanted.set(image, wanted)
    return wanted
  }

  #forget(image: string, wanted: Wanted): void {
    if (this.#wanted.get(image) === wanted) this.#wanted.delete(image)
  }

  async #lookAndPull(image: string, signal: AbortSignal): Promise<void> {
    if (await this.#looks(() => this.#present(image, signal))) return
    await this.#pulls(() => this.#pull(image, signal))
  }

  async #present(image: string, signal: AbortSignal): Promise<boolean> {
    try {
      const path = `/images/${encodeURI(image)}/json`
      await this.#connection.request({ method: 'GET', path, signal })
      return true
    } catch (error) {
      if (isStatus(error, 404)) return false
      if (isStatus(error, 400)) throw new TaskRejectedError((error as Error).message, error)
      throw error
    }
  }

  async #pull(image: string, waited: AbortSignal): Promise<void> {
    const late = new AbortController()
    const signal = AbortSignal.any([waited, late.signal])
    const give = (why: string) => (): void =>
      late.abort(new EngineUnavailableError(`pulling ${image}: ${why}`))
    const { enginePullTimeoutMs: totalMs, enginePullIdleTimeoutMs: idleMs } = defaults
    const total = setTimeout(give(`not done within ${totalMs} ms`), totalMs)
    const idle = setTimeout(give(`no progress for ${idleMs} ms`), idleMs)
    try {
      const stream = await this.#connection.stream({
        method: 'POST',
        path: '/images/create',
        query: pullQuery(image),
        signal,
        timeoutMs: idleMs,
        purpose: 'pull',
      })
      for await (const line of jsonLines(stream)) {
        idle.refresh()
        const { error, errorDetail } = line as Progress
        if (error !== undefined) throw new TaskRejectedError(errorDetail?.message ?? error)
      }
    } catch (error) {
      if (error instanceof TaskRejectedError) {
        throw new TaskRejectedError(`No such image: ${image}: ${error.message}`, error)
      }
      if (late.signal.aborted) throw late.signal.reason
      throw error instanceof EngineUnavailableError || signal.aborted
        ? error
        : new EngineUnavailableError(`pulling ${image}: ${(error as Error).message}`, error)
    } finally {
      clearTimeout(total)
      clearTimeout(idle)
    }
  }
}

/** Without a tag the engine would pull *all* tags; a digest takes the tag's place (as the docker CLI asks). */
export function pullQuery(image: string): { readonly fromImage: string; readonly tag: string } {
  const [named = '', digest] = image.split('@')
  // A colon before the last slash belongs to a registry's port.
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1)
  const fromImage = colon < 0 ? named : named.slice(0, colon)
  return { fromImage, tag: digest ?? (colon < 0 ? 'latest' : named.slice(colon + 1)) }
}
