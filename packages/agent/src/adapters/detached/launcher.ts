import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { defaults } from '../../defaults.ts'
import { HungError, Line, type LineSettings } from './line.ts'
import { type Detached, startDetached } from './process.ts'
import { killHung, type Program } from './program.ts'
import type { Hello, Wire } from './wire.ts'

export type LauncherSettings = LineSettings & Pick<typeof defaults, 'detachedStartTimeoutMs'>

/** What is started, and where it is found. */
export interface Place<Question, Reply> {
  /** In memory (/run), for root alone: the socket, what it keeps, what it said. A path of at most 90 characters. */
  readonly directory: string
  /** Where it answers others; one that has another is replaced. */
  readonly port?: number | undefined
  readonly program: Program
  /** Of Node. */
  readonly flags: readonly string[]
  /** Its own, beside directory and program. */
  readonly args: readonly string[]
  readonly wire: Wire<Question, Reply>
}

export class NotStartedError extends Error {
  override name = 'NotStartedError'
  constructor(why: string) {
    super(`it did not start: ${why}`)
  }
}

/** How long between two tries to reach a process that is starting. */
const knockIntervalMs = 20

/** One that ended may have met another that is starting, for another agent. */
const otherStartsWithinMs = 1_000

/** Finds a process that outlives the agent, starts it, and puts a newer one into the place of an older one. */
export class Launcher<Question, Reply> {
  readonly #place: Place<Question, Reply>
  readonly #settings: LauncherSettings

  constructor(place: Place<Question, Reply>, settings: LauncherSettings) {
    this.#place = place
    this.#settings = settings
  }

  /** Undefined: it does not run. One that hangs is ended. */
  async find(onEnd: (why: string) => void): Promise<Line<Question, Reply> | undefined> {
    return (await this.#greet(onEnd))?.line
  }

  /** @param onEnd the connection that was given out has ended. */
  async reach(onEnd: (why: string) => void): Promise<Line<Question, Reply>> {
    const found = await this.#greet(onEnd)
    if (found === undefined) return this.#start(onEnd, false)
    if (this.#isOurs(found.hello)) return found.line
    // While it goes, its end is no loss.
    found.line.close()
    try {
      return await this.#start(onEnd, true)
    } catch (error) {
      const old = await this.#greet(onEnd)
      // Better an older one than none; the next agent tries again.
      if (old !== undefined && old.hello.port === this.#place.port) return old.line
      old?.line.close()
      throw error
    }
  }

  async #start(onEnd: (why: string) => void, replaces: boolean): Promise<Line<Question, Reply>> {
    const { detachedStartTimeoutMs: withinMs } = this.#settings
    let atMs = performance.now() + withinMs
    let isGivenUp = false
    const child = this.#launch(replaces)
    for (;;) {
      await delay(knockIntervalMs)
      const there = await this.#greet(onEnd)
      if (there !== undefined && this.#isOurs(there.hello)) return there.line
      there?.line.close()
      if (child.hasEnded() && !isGivenUp) {
        isGivenUp = true
        atMs = Math.min(atMs, performance.now() + otherStartsWithinMs)
      }
      if (performance.now() >= atMs) throw new NotStartedError(child.words())
    }
  }

  async #greet(
    onEnd: (why: string) => void,
  ): Promise<{ line: Line<Question, Reply>; hello: Hello } | undefined> {
    const { directory, wire } = this.#place
    // Until it has said who it is, nobody has lost anything.
    let isGivenOut = false
    const ended = (error: Error): void => {
      if (error instanceof HungError) killHung(directory)
      if (isGivenOut) onEnd(error.message)
    }
    try {
      const line = await Line.open(join(directory, 'socket'), wire, this.#settings, ended)
      const hello = await line.hello()
      isGivenOut = true
      return { line, hello }
    } catch {
      return undefined
    }
  }

  #isOurs({ program, port }: Hello): boolean {
    return program === this.#place.program.version && port === this.#place.port
  }

  #launch(replaces: boolean): Detached {
    const { directory, program, flags, args } = this.#place
    const own = ['--directory', directory, '--program', program.version, ...args]
    if (replaces) own.push('--replace')
    return startDetached([...flags, program.path, ...own], directory)
  }
}
