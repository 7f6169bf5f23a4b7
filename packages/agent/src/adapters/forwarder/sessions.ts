import type { ForwarderCounts } from '../../ports/forwarder.ts'
import type { Session } from './session.ts'

interface Entry {
  readonly door: object
  readonly client: string
  readonly session: Session
  lastMs: number
}

type SessionCounts = { -readonly [K in keyof Pick<ForwarderCounts, 'sessions' | 'gaveWay'>]: number }

/** All clients of UDP ports, the one that was silent for longest first: it gives way where there are too many. */
export class Sessions {
  readonly #max: number
  readonly #idleMs: number
  readonly #nowMs: () => number
  readonly #counts: SessionCounts
  readonly #doors = new Map<object, Map<string, Entry>>()
  readonly #order = new Set<Entry>()

  constructor(max: number, idleMs: number, counts: SessionCounts, nowMs: () => number) {
    this.#counts = counts
    this.#max = max
    this.#idleMs = idleMs
    this.#nowMs = nowMs
  }

  /** It has not been silent. */
  find(door: object, client: string): Session | undefined {
    const entry = this.#doors.get(door)?.get(client)
    if (entry === undefined) return undefined
    entry.lastMs = this.#nowMs()
    this.#order.delete(entry)
    this.#order.add(entry)
    return entry.session
  }

  add(door: object, client: string, session: Session): void {
    for (const oldest of this.#order) {
      if (this.#order.size < this.#max) break
      oldest.session.end()
      this.#counts.gaveWay += 1
    }
    const entry = { door, client, session, lastMs: this.#nowMs() }
    const own = this.#doors.get(door)
    if (own === undefined) this.#doors.set(door, new Map([[client, entry]]))
    else own.set(client, entry)
    this.#order.add(entry)
    this.#counts.sessions += 1
  }

  /** It has ended by itself; another may have its place by now. */
  forget(door: object, client: string, session: Session): void {
    const own = this.#doors.get(door)
    const entry = own?.get(client)
    if (entry?.session !== session) return
    own?.delete(client)
    if (own?.size === 0) this.#doors.delete(door)
    this.#order.delete(entry)
  }

  endOf(door: object, isMeant: (session: Session) => boolean): void {
    for (const { session } of this.#doors.get(door)?.values() ?? []) {
      if (isMeant(session)) session.end()
    }
  }

  /** To be called now and then. */
  endIdle(): void {
    const beforeMs = this.#nowMs() - this.#idleMs
    for (const { session, lastMs } of this.#order) {
      if (lastMs > beforeMs) return
      session.end()
    }
  }
}
