import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { allOf, changesBetween } from '../../core/network/name-changes.ts'
import type { NameTable } from '../../core/network/name-table.ts'
import type { defaults } from '../../defaults.ts'
import {
  type NameServer,
  type NameServerCounts,
  NameServerUnavailableError,
} from '../../ports/name-server.ts'
import { Launcher, type LauncherSettings, type NameServerPlace, NotStartedError } from './launcher.ts'
import type { Line } from './line.ts'

export interface NameServerSetup extends NameServerPlace {
  readonly settings: LauncherSettings &
    Pick<typeof defaults, 'nameServerPulseMs' | 'nameServerReturnFirstMs' | 'nameServerReturnMaxMs'>
  /** What happens to it while nobody waits. */
  readonly log: (line: string) => void
}

/** The name server in a process of its own, which is started when it is needed first and found again after a restart of the agent. */
export function processNameServer(setup: NameServerSetup): NameServer {
  return new NameServerClient(setup)
}

/** A connection, and what was said over it last. */
interface Link {
  readonly line: Line
  said?: { readonly version: string; readonly table: NameTable }
}

class NameServerClient implements NameServer {
  readonly port: number
  readonly #setup: NameServerSetup
  readonly #launcher: Launcher
  readonly #name = randomUUID()
  #said = 0
  #wanted: NameTable | undefined
  #link: Promise<Link> | undefined
  #current: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined
  #pulse: NodeJS.Timeout | undefined
  #isReturning = false
  #isClosed = false

  constructor(setup: NameServerSetup) {
    this.port = setup.port
    this.#setup = setup
    this.#launcher = new Launcher(setup, setup.settings)
  }

  publish(table: NameTable, signal: AbortSignal): Promise<void> {
    this.#wanted = table
    return orAborted(this.#sayNext(), signal)
  }

  async counts(signal: AbortSignal): Promise<NameServerCounts | undefined> {
    const link = await orAborted(this.#found(), signal)
    if (link === undefined) return undefined
    const reply = await orAborted(link.line.ask({ ask: 'counts' }), signal)
    return reply.kind === 'counts' ? reply.counts : undefined
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#pulse)
    const link = await this.#link?.catch(() => undefined)
    link?.line.close()
  }

  async end(signal: AbortSignal): Promise<void> {
    // It is not brought back from now on.
    this.#wanted = undefined
    await orAborted(
      this.#current.catch(() => undefined),
      signal,
    )
    const link = await orAborted(this.#found(), signal)
    const reply = link && (await orAborted(link.line.ask({ ask: 'end' }), signal))
    if (reply?.kind === 'failed') throw new NameServerUnavailableError(reply.why)
    rmSync(join(this.#setup.directory, 'table.json'), { force: true })
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
    try {
      // The first connection may be to one that is gone, or that another agent has told something.
      if ((await this.#sayOnce().catch(orAgain)) || (await this.#sayOnce())) return
    } catch (error) {
      throw new NameServerUnavailableError(error instanceof Error ? error.message : String(error), {
        cause: error,
      })
    }
    throw new NameServerUnavailableError('it does not take what it is told')
  }

  async #sayOnce(): Promise<boolean> {
    const link = await this.#connected()
    const table = this.#wanted
    if (table === undefined) return true
    const { said } = link
    const changes = said === undefined ? allOf(table) : changesBetween(said.table, table)
    if (changes === undefined) return true
    const version = `${this.#name} ${this.#said++}`
    const reply = await link.line.ask({
      ask: 'publish',
      from: said?.version ?? null,
      to: version,
      changes,
    })
    if (reply.kind === 'failed') throw new Error(reply.why)
    if (reply.kind === 'published') link.said = { version, table }
    else delete link.said
    return reply.kind === 'published'
  }

  /** It, or what is started in its place. */
  #connected(): Promise<Link> {
    if (this.#isClosed) return Promise.reject(new Error('the agent has let go of it'))
    this.#link ??= this.#hold(this.#launcher.reach((why) => this.#lost(why)))
    return this.#link
  }

  /** It, if it runs. */
  async #found(): Promise<Link | undefined> {
    if (this.#link !== undefined) return this.#link.catch(() => undefined)
    const line = await this.#launcher.find((why) => this.#lost(why))
    if (line === undefined) return undefined
    this.#link ??= this.#hold(Promise.resolve(line))
    return this.#link
  }

  #hold(line: Promise<Line>): Promise<Link> {
    const link = line.then((line): Link => ({ line }))
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
    const { settings, log } = this.#setup
    log(`The name server is gone: ${why}. It is started again.`)
    let pauseMs: number = settings.nameServerReturnFirstMs
    while (!this.#isClosed && this.#wanted !== undefined) {
      try {
        await this.#sayNext()
        log('The name server is back.')
        break
      } catch (error) {
        log(String(error))
        await delay(pauseMs, undefined, { ref: false })
        pauseMs = Math.min(2 * pauseMs, settings.nameServerReturnMaxMs)
      }
    }
    this.#isReturning = false
  }

  /** A process that is stopped keeps its connections. */
  #feelPulse(): void {
    if (this.#pulse !== undefined || this.#isClosed) return
    this.#pulse = setInterval(() => {
      this.#link?.then(({ line }) => line.hello()).catch(() => undefined)
    }, this.#setup.settings.nameServerPulseMs)
    this.#pulse.unref()
  }
}

/** What could not be started now cannot be a moment later. */
function orAgain(error: unknown): false {
  if (error instanceof NotStartedError) throw error
  return false
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
