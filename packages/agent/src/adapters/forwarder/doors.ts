import type { Forward } from '../../core/network/plane.ts'
import type { defaults } from '../../defaults.ts'
import type { ForwarderCounts, PortTrouble } from '../../ports/forwarder.ts'
import { Load } from './load.ts'
import { Sessions } from './sessions.ts'
import { TcpDoor, type TcpDoorSettings } from './tcp-door.ts'
import { UdpDoor, type UdpDoorParts } from './udp-door.ts'

export type DoorsSettings = TcpDoorSettings &
  UdpDoorParts['settings'] &
  Pick<
    typeof defaults,
    'forwarderConnectionsMax' | 'forwarderSessionsMax' | 'forwarderSessionIdleMs' | 'forwarderPortRetryMs'
  >

type Door = TcpDoor | UdpDoor

/** All published ports of this host that are answered in userland. */
export class Doors {
  readonly #relayPath: string
  readonly #settings: DoorsSettings
  readonly #load: Load
  readonly #sessions: Sessions
  readonly #timers: readonly NodeJS.Timeout[]
  readonly #doors = new Map<string, Door>()
  readonly #troubles = new Map<string, PortTrouble>()
  #forwards: readonly Forward[] = []
  #last: Promise<void> = Promise.resolve()
  #isClosed = false

  constructor(relayPath: string, settings: DoorsSettings) {
    const { forwarderConnectionsMax, forwarderSessionsMax, forwarderSessionIdleMs: idleMs } = settings
    this.#relayPath = relayPath
    this.#settings = settings
    this.#load = new Load(forwarderConnectionsMax)
    this.#sessions = new Sessions(forwarderSessionsMax, idleMs, this.#load.counts, () => performance.now())
    this.#timers = [
      setInterval(() => this.#sessions.endIdle(), idleMs / 4),
      setInterval(() => void this.#tryAgain(), settings.forwarderPortRetryMs),
    ]
  }

  get forwards(): readonly Forward[] {
    return this.#forwards
  }

  get troubles(): readonly PortTrouble[] {
    return [...this.#troubles.values()]
  }

  get counts(): ForwarderCounts {
    return this.#load.counts
  }

  /** TCP connections that go on. */
  get connections(): number {
    return this.#load.open
  }

  /** Resolves once each new connection goes by it. Ports that are another's are tried again later. */
  apply(forwards: readonly Forward[]): Promise<void> {
    this.#forwards = forwards
    return this.#makeSo()
  }

  /** No new connections; those of TCP go on. */
  close(): void {
    this.#isClosed = true
    for (const timer of this.#timers) clearInterval(timer)
    for (const door of this.#doors.values()) door.close()
    this.#doors.clear()
  }

  async #tryAgain(): Promise<void> {
    if (this.#troubles.size > 0) await this.#makeSo()
  }

  /** One at a time, each by what is wanted last. */
  #makeSo(): Promise<void> {
    this.#last = this.#last.then(() => this.#once())
    return this.#last
  }

  async #once(): Promise<void> {
    // Where nobody answers nobody listens: whoever comes is refused by the kernel, at once.
    const wanted = new Map(
      this.#forwards
        .filter(({ endpoints }) => endpoints.length > 0)
        .map((forward) => [`${forward.port}/${forward.protocol}`, forward]),
    )
    for (const [key, door] of this.#doors) {
      if (wanted.has(key)) continue
      door.close()
      this.#doors.delete(key)
    }
    for (const key of this.#troubles.keys()) if (!wanted.has(key)) this.#troubles.delete(key)
    await Promise.all([...wanted].map(([key, forward]) => this.#answerOn(key, forward)))
  }

  async #answerOn(key: string, forward: Forward): Promise<void> {
    const door = this.#doors.get(key)
    if (door !== undefined) {
      door.update(forward)
      return
    }
    try {
      const opened = await this.#open(forward)
      if (this.#isClosed) opened.close()
      else this.#doors.set(key, opened)
      this.#troubles.delete(key)
    } catch (error) {
      const { protocol, port } = forward
      this.#troubles.set(key, { protocol, port, why: wordsOf(error, port) })
    }
  }

  #open(forward: Forward): Promise<Door> {
    const parts = { relayPath: this.#relayPath, settings: this.#settings }
    return forward.protocol === 'tcp'
      ? TcpDoor.open(forward, { ...parts, load: this.#load })
      : UdpDoor.open(forward, { ...parts, sessions: this.#sessions })
  }
}

function wordsOf(error: unknown, port: number): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE')
    return 'another program of this host has it: end that one, or publish another port'
  if (code === 'EACCES')
    return `this process may not listen below ${port < 1024 ? 1024 : port + 1}: run the agent as root, or give it CAP_NET_BIND_SERVICE`
  return error instanceof Error ? error.message : String(error)
}
