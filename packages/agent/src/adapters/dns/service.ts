import { setImmediate as turn } from 'node:timers/promises'
import type { defaults } from '../../defaults.ts'
import type { NameChanges } from '../../core/network/name-changes.ts'
import { NameIndex } from '../../core/network/name-index.ts'
import type { NameServerCounts } from '../../ports/name-server.ts'
import { Desk } from './desk.ts'
import type { ForwarderParts, ForwarderSettings } from './forwarder.ts'
import type { TableFile } from './table-file.ts'
import { openTcp, type TcpDoor, type TcpSettings } from './tcp-door.ts'
import { openUdp, type UdpDoor } from './udp-door.ts'

export type ServiceSettings = ForwarderSettings &
  TcpSettings &
  Pick<typeof defaults, 'nameServerKeepDelayMs' | 'nameServerRetireMs'>

export interface ServiceParts {
  readonly port: number
  readonly file: TableFile
  readonly forwarding: Omit<ForwarderParts, 'settings'>
  readonly settings: ServiceSettings
  readonly log: (line: string) => void
}

/** A name server without the agent that tells it: its table, its sockets, and what is kept. */
export class Service {
  readonly #parts: ServiceParts
  readonly #desk: Desk
  readonly #udp: UdpDoor
  readonly #tcp: TcpDoor
  #version: string | undefined
  #keep: NodeJS.Timeout | undefined

  private constructor(parts: ServiceParts, desk: Desk, udp: UdpDoor, tcp: TcpDoor) {
    this.#parts = parts
    this.#desk = desk
    this.#udp = udp
    this.#tcp = tcp
  }

  /** Answers by what was kept last. */
  static async start(parts: ServiceParts): Promise<Service> {
    const { port, settings, file, forwarding } = parts
    const desk = new Desk(file.read(), { ...forwarding, settings })
    const tcp = await openTcp(desk, port, settings)
    const udp = await openUdp(desk, port).catch((error: unknown) => {
      tcp.close()
      throw error
    })
    return new Service(parts, desk, udp, tcp)
  }

  get counts(): NameServerCounts {
    return this.#desk.counters
  }

  /** False: it has another version than `from`. What is kept for a next process follows a moment later. */
  publish(from: string | null, to: string, changes: NameChanges): boolean {
    if (from !== null && from !== this.#version) return false
    const index = from === null ? new NameIndex() : (this.#desk.index ?? new NameIndex())
    index.apply(changes)
    this.#desk.index = index
    this.#version = to
    // What a new agent says is all of it, and comes once.
    const delayMs = from === null ? 0 : this.#parts.settings.nameServerKeepDelayMs
    this.#keep ??= setTimeout(() => this.flush(), delayMs)
    return true
  }

  /** Another has changed what is kept, and nobody has told this one anything yet. */
  reload(): void {
    if (this.#version === undefined) this.#desk.index = this.#parts.file.read()
  }

  flush(): void {
    if (this.#keep === undefined || this.#desk.index === undefined) return
    clearTimeout(this.#keep)
    this.#keep = undefined
    try {
      this.#parts.file.write(this.#desk.index)
    } catch (error) {
      this.#parts.log(`the table could not be kept for a next process: ${String(error)}`)
    }
  }

  /** Lets go of the port for another that is answering by now; what it had begun, it ends. */
  async retire(): Promise<void> {
    this.flush()
    this.#tcp.close()
    await this.#desk.forwarder.settled(this.#parts.settings.nameServerRetireMs)
    // What is in the socket already is read in the next turns.
    await turn()
    await turn()
    this.#udp.close()
  }

  /** Connections that are there go on until they are idle; resolves when none is left. */
  async drained(): Promise<void> {
    await this.#tcp.drained()
  }

  /** At once, and without a trace. */
  end(): void {
    clearTimeout(this.#keep)
    this.#keep = undefined
    this.#desk.forwarder.close()
    this.#udp.close()
    this.#tcp.close()
    this.#tcp.cut()
    this.#parts.file.remove()
  }
}
