import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { defaults } from '../../defaults.ts'
import { type Detached, startDetached } from '../detached-process.ts'
import { type Hello, HungError, Line, type LineSettings } from './line.ts'
import { killHung, nameServerProgram, type Program, programFlags } from './program.ts'

export type LauncherSettings = LineSettings & Pick<typeof defaults, 'nameServerStartTimeoutMs'>

export interface NameServerPlace {
  /** In memory (/run), for root alone: the socket, the table, what it said. A path of at most 90 characters. */
  readonly directory: string
  readonly port: number
  /** Where the host's own name servers stand; /etc/resolv.conf. */
  readonly resolvConf?: string
  /** Where other name servers answer; 53. */
  readonly forwardPort?: number
  /** What is started; our own. */
  readonly program?: Program
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

/** Finds the name server's process, starts it, and puts a newer one into the place of an older one. */
export class Launcher {
  readonly #place: NameServerPlace
  readonly #settings: LauncherSettings
  readonly #program: Program

  constructor(place: NameServerPlace, settings: LauncherSettings) {
    this.#place = place
    this.#settings = settings
    this.#program = place.program ?? nameServerProgram()
  }

  /** Undefined: it does not run. One that hangs is ended. */
  async find(onEnd: (why: string) => void): Promise<Line | undefined> {
    return (await this.#greet(onEnd))?.line
  }

  /** @param onEnd the connection that was given out has ended. */
  async reach(onEnd: (why: string) => void): Promise<Line> {
    const found = await this.#greet(onEnd)
    if (found === undefined) return this.#start(onEnd, false)
    if (this.#isOurs(found.hello)) return found.line
    // While it goes, its end is no loss.
    found.line.close()
    try {
      return await this.#start(onEnd, true)
    } catch (error) {
      const old = await this.#greet(onEnd)
      // Better an older one than no names; the next agent tries again.
      if (old !== undefined && old.hello.port === this.#place.port) return old.line
      old?.line.close()
      throw error
    }
  }

  async #start(onEnd: (why: string) => void, replaces: boolean): Promise<Line> {
    const { nameServerStartTimeoutMs: withinMs } = this.#settings
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

  async #greet(onEnd: (why: string) => void): Promise<{ line: Line; hello: Hello } | undefined> {
    const { directory } = this.#place
    // Until it has said who it is, nobody has lost anything.
    let isGivenOut = false
    const ended = (error: Error): void => {
      if (error instanceof HungError) killHung(directory)
      if (isGivenOut) onEnd(error.message)
    }
    try {
      const line = await Line.open(join(directory, 'socket'), this.#settings, ended)
      const hello = await line.hello()
      isGivenOut = true
      return { line, hello }
    } catch {
      return undefined
    }
  }

  #isOurs({ program, port }: Hello): boolean {
    return program === this.#program.version && port === this.#place.port
  }

  #launch(replaces: boolean): Detached {
    const { directory, port, resolvConf, forwardPort } = this.#place
    const own = ['--directory', directory, '--port', String(port), '--program', this.#program.version]
    if (resolvConf !== undefined) own.push('--resolv-conf', resolvConf)
    if (forwardPort !== undefined) own.push('--forward-port', String(forwardPort))
    if (replaces) own.push('--replace')
    return startDetached([...programFlags, this.#program.path, ...own], directory)
  }
}
