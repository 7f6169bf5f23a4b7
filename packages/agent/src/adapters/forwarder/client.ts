import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Forward } from '../../core/network/plane.ts'
import type { defaults } from '../../defaults.ts'
import {
  type Forwarder,
  type ForwarderCounts,
  ForwarderUnavailableError,
  type OpenRemote,
  type PortTrouble,
} from '../../ports/forwarder.ts'
import type { ByteStream } from '../../ports/mesh.ts'
import { Keeper, type KeeperSettings, type Link } from '../detached/keeper.ts'
import type { Program } from '../detached/program.ts'
import type { CommonReply } from '../detached/wire.ts'
import { connectTo } from './container-door.ts'
import { forwarderProgram, programFlags } from './program.ts'
import { forwarderWire, type Question, type Reply } from './protocol.ts'
import { RelayDoor } from './relay-door.ts'

export interface ForwarderSetup {
  /** In memory (/run), for root alone: the sockets, what it said. A path of at most 90 characters. */
  readonly directory: string
  readonly settings: KeeperSettings & Pick<typeof defaults, 'forwarderPortRetryMs' | 'forwarderRelaysMax'>
  /** What happens to it while nobody waits. */
  readonly log: (line: string) => void
  /** What is started; our own. */
  readonly program?: Program
}

/** The forwarder in a process of its own, which is started when it is needed first and found again after a restart of the agent. */
export function processForwarder(setup: ForwarderSetup): Forwarder {
  return new ForwarderClient(setup)
}

class ForwarderClient implements Forwarder {
  readonly whyNot = process.platform === 'linux' ? undefined : `it needs Linux, this is ${process.platform}`
  readonly #setup: ForwarderSetup
  readonly #keeper: Keeper<Question, Reply, readonly Forward[], readonly Forward[]>
  #openRemote: OpenRemote | undefined
  #relay: Promise<RelayDoor> | undefined
  #isKept = false
  #troubles: readonly PortTrouble[] = []
  #asking: NodeJS.Timeout | undefined
  readonly #closing = new AbortController()

  constructor(setup: ForwarderSetup) {
    const { directory, program = forwarderProgram() } = setup
    this.#setup = setup
    this.#keeper = new Keeper({
      place: { directory, program, flags: programFlags, args: [], wire: forwarderWire },
      settings: setup.settings,
      what: 'The forwarder',
      log: setup.log,
      say: (link, forwards) => this.#say(link, forwards),
      unavailable: (why, cause) => new ForwarderUnavailableError(why, { cause }),
    })
  }

  async apply(forwards: readonly Forward[], signal: AbortSignal): Promise<void> {
    if (forwards.length === 0 && !this.#isKept) {
      // Not started for nothing; but one that an earlier agent has started is told.
      const reply = await this.#keeper.ask({ ask: 'apply', forwards }, signal)
      if (reply !== undefined) this.#hear(reply)
      return
    }
    this.#isKept = true
    await this.#relayDoor()
    await this.#keeper.keep(forwards, signal)
  }

  troubles(): readonly PortTrouble[] {
    return this.#troubles
  }

  async counts(signal: AbortSignal): Promise<ForwarderCounts | undefined> {
    const reply = await this.#keeper.ask({ ask: 'counts' }, signal)
    return reply?.kind === 'counts' ? reply.counts : undefined
  }

  onRemote(open: OpenRemote): void {
    this.#openRemote = open
    // One that runs already waits for a way to other nodes. What fails here is tried again when it is told something.
    if (existsSync(join(this.#setup.directory, 'socket'))) this.#relayDoor().catch(() => undefined)
  }

  connect(
    protocol: Forward['protocol'],
    address: string,
    port: number,
    signal: AbortSignal,
  ): Promise<ByteStream> {
    return connectTo(protocol, address, port, signal)
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the agent has let go of it'))
    clearInterval(this.#asking)
    const relay = await this.#relay?.catch(() => undefined)
    relay?.close()
    await this.#keeper.close()
  }

  async end(signal: AbortSignal): Promise<void> {
    await this.#keeper.end(signal)
    await this.close()
  }

  #relayDoor(): Promise<RelayDoor> {
    this.#relay ??= this.#openRelay()
    this.#relay.catch(() => (this.#relay = undefined))
    return this.#relay
  }

  async #openRelay(): Promise<RelayDoor> {
    const { directory, settings } = this.#setup
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const open: OpenRemote = (...to) =>
      this.#openRemote?.(...to) ?? Promise.reject(new Error('no way to other nodes is known'))
    const relay = new RelayDoor(join(directory, 'relay'), open, settings.forwarderRelaysMax)
    await relay.listen()
    return relay
  }

  async #say(
    link: Link<Question, Reply, readonly Forward[]>,
    forwards: readonly Forward[],
  ): Promise<boolean> {
    if (link.said === forwards) return true
    this.#hear(await link.line.ask({ ask: 'apply', forwards }))
    link.said = forwards
    return true
  }

  #hear(reply: Reply | CommonReply): void {
    if (reply.kind === 'failed') throw new Error(reply.why)
    if (reply.kind !== 'troubles') throw new Error(`it answered "${reply.kind}"`)
    this.#tell(reply.troubles)
    this.#troubles = reply.troubles
    if (reply.troubles.length === 0) {
      clearInterval(this.#asking)
      this.#asking = undefined
    } else this.#asking ??= this.#askAgain()
  }

  /** While there are troubles, they may be over at any moment. */
  #askAgain(): NodeJS.Timeout {
    const timer = setInterval(() => {
      this.#keeper
        .ask({ ask: 'troubles' }, this.#closing.signal)
        .then((reply) => reply && this.#hear(reply))
        .catch(() => undefined)
    }, this.#setup.settings.forwarderPortRetryMs)
    return timer.unref()
  }

  #tell(troubles: readonly PortTrouble[]): void {
    const { log } = this.#setup
    const wordsOf = ({ protocol, port, why }: PortTrouble): string =>
      `Port ${port}/${protocol} is not answered on this host: ${why}. It is tried again.`
    const [before, now] = [new Set(this.#troubles.map(wordsOf)), new Set(troubles.map(wordsOf))]
    for (const words of now) if (!before.has(words)) log(words)
    for (const { protocol, port } of this.#troubles) {
      if (!troubles.some((each) => each.protocol === protocol && each.port === port))
        log(`Port ${port}/${protocol} is no trouble any more.`)
    }
  }
}
