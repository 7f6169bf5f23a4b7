import { setTimeout as delay } from 'node:timers/promises'
import type { defaults } from '../../defaults.ts'
import { Launcher, type LauncherSettings, NotStartedError, type Place } from './launcher.ts'
import type { Line } from './line.ts'
import type { CommonReply } from './wire.ts'

export type KeeperSettings = LauncherSettings &
  Pick<typeof defaults, 'detachedPulseMs' | 'detachedReturnFirstMs' | 'detachedReturnMaxMs'>

/** A connection, and what was said over it last. */
export interface Link<Question, Reply, Said> {
  readonly line: Line<Question, Reply>
  said?: Said
}

export interface KeeperParts<Question, Reply, Wanted, Said> {
  readonly place: Place<Question, Reply>
  readonly settings: KeeperSettings
  /** For what is said about it: `The name server`. */
  readonly what: string
  /** What happens to it while nobody waits. */
  readonly log: (line: string) => void
  /** Says what is wanted. False: it has to be said again, and all of it. */
  readonly say: (link: Link<Question, Reply, Said>, wanted: Wanted) => Promise<boolean>
  readonly unavailable: (why: string, cause: unknown) => Error
}

/** Keeps a process that outlives the agent as it is wanted: starts it when it is needed first, finds it again, brings it back, says what changed. */
export class Keeper<Question, Reply, Wanted, Said> {
  readonly #parts: KeeperParts<Question, Reply, Wanted, Said>
  readonly #launcher: Launcher<Question, Reply>
  #wanted: Wanted | undefined
  #link: Promise<Link<Question, Reply, Said>> | undefined
  #current: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined
  #pulse: NodeJS.Timeout | undefined
  #isReturning = false
  #isClosed = false

  constructor(parts: KeeperParts<Question, Reply, Wanted, Said>) {
    this.#parts = parts
    this.#launcher = new Launcher(parts.place, parts.settings)
  }

  /** Resolves once it was told this, or something later. */
  keep(wanted: Wanted, signal: AbortSignal): Promise<void> {
    this.#wanted = wanted
    return orAborted(this.#sayNext(), signal)
  }

  /** Its answer, if it runs. */
  async ask(question: Question, signal: AbortSignal): Promise<Reply | CommonReply | undefined> {
    const link = await orAborted(this.#found(), signal)
    return link && orAborted(link.line.ask(question), signal)
  }

  /** Lets go of it: it goes on. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#pulse)
    const link = await this.#link?.catch(() => undefined)
    link?.line.close()
  }

  /** Ends it. Rejects where it does not. */
  async end(signal: AbortSignal): Promise<void> {
    // It is not brought back from now on.
    this.#wanted = undefined
    await orAborted(
      this.#current.catch(() => undefined),
      signal,
    )
    const link = await orAborted(this.#found(), signal)
    const reply = link && (await orAborted(link.line.ask({ ask: 'end' }), signal))
    if (reply !== undefined && isFailed(reply)) throw this.#parts.unavailable(reply.why, undefined)
    await this.close()
  }

  /** One at a time; who comes meanwhile waits for the next, which says what was wanted last. */
  #sayNext(): Promise<void> {
    this.#next ??= this.#current
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined
        this.#current = this.#say()
        return this.#current
      })
    return this.#next
  }

  async #say(): Promise<void> {
    const { unavailable } = this.#parts
    try {
      // The first connection may be to one that is gone, or that another agent has told something.
      if ((await this.#sayOnce().catch(orAgain)) || (await this.#sayOnce())) return
    } catch (error) {
      throw unavailable(error instanceof Error ? error.message : String(error), error)
    }
    throw unavailable('it does not take what it is told', undefined)
  }

  async #sayOnce(): Promise<boolean> {
    const link = await this.#connected()
    const wanted = this.#wanted
    return wanted === undefined || this.#parts.say(link, wanted)
  }

  /** It, or what is started in its place. */
  #connected(): Promise<Link<Question, Reply, Said>> {
    if (this.#isClosed) return Promise.reject(new Error('the agent has let go of it'))
    this.#link ??= this.#hold(this.#launcher.reach((why) => this.#lost(why)))
    return this.#link
  }

  /** It, if it runs. */
  async #found(): Promise<Link<Question, Reply, Said> | undefined> {
    if (this.#link !== undefined) return this.#link.catch(() => undefined)
    const line = await this.#launcher.find((why) => this.#lost(why))
    if (line === undefined) return undefined
    this.#link ??= this.#hold(Promise.resolve(line))
    return this.#link
  }

  #hold(line: Promise<Line<Question, Reply>>): Promise<Link<Question, Reply, Said>> {
    const link = line.then((line): Link<Question, Reply, Said> => ({ line }))
    link.then(
      () => this.#feelPulse(),
      () => {
        if (this.#link === link) this.#link = undefined
      },
    )
    return link
  }

  #lost(why: string): void {
    this.#link = undefined
    if (!this.#isClosed && this.#wanted !== undefined) void this.#bringBack(why)
  }

  async #bringBack(why: string): Promise<void> {
    if (this.#isReturning) return
    this.#isReturning = true
    const { settings, log, what } = this.#parts
    log(`${what} is gone: ${why}. It is started again.`)
    let pauseMs: number = settings.detachedReturnFirstMs
    while (!this.#isClosed && this.#wanted !== undefined) {
      try {
        await this.#sayNext()
        log(`${what} is back.`)
        break
      } catch (error) {
        log(String(error))
        await delay(pauseMs, undefined, { ref: false })
        pauseMs = Math.min(2 * pauseMs, settings.detachedReturnMaxMs)
      }
    }
    this.#isReturning = false
  }

  /** A process that is stopped keeps its connections. */
  #feelPulse(): void {
    if (this.#pulse !== undefined || this.#isClosed) return
    this.#pulse = setInterval(() => {
      this.#link?.then(({ line }) => line.hello()).catch(() => undefined)
    }, this.#parts.settings.detachedPulseMs)
    this.#pulse.unref()
  }
}

/** What could not be started now cannot be a moment later. */
function orAgain(error: unknown): false {
  if (error instanceof NotStartedError) throw error
  return false
}

function isFailed(reply: unknown): reply is { readonly kind: 'failed'; readonly why: string } {
  return typeof reply === 'object' && reply !== null && 'kind' in reply && reply.kind === 'failed'
}

/** The work goes on, but whoever gave it up does not wait for it. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => undefined)
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const abort = (): void => aborted.reject(signal.reason as Error)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
