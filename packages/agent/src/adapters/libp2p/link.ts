import type { Connection } from '@libp2p/interface'
import type { NodeId } from '@moot/crdt-state'
import type { Defaults } from '../../defaults.ts'
import { PeerRefusedError } from '../../ports/mesh.errors.ts'
import type { Gate } from '../../ports/mesh.ts'
import { Channel, toError, within } from './channel.ts'
import { controlProtocol, readControl, sendControl } from './control.ts'
import type { ControlMessage, Hello } from './control.ts'
import { rawKeyOf } from './identity.ts'

export const controlVersion = 1

/** What a link asks of the mesh that holds it. */
export interface LinkHost {
  readonly settings: Defaults
  readonly gate: Gate
  readonly clusterTag: string
  hello(): Hello
  accepted(link: Link): void
  farewell(link: Link, removal: Uint8Array): void
}

type LinkState =
  | { readonly kind: 'greeting' }
  | { readonly kind: 'accepted'; readonly control: Channel; readonly hello: Hello }
  | { readonly kind: 'closed' }

/**
 * One connection and its control stream. libp2p's `dial` also resolves when the other side's gater refuses (the
 * connection closes a moment later), so a connection counts only after this greeting, in which both sides said yes.
 */
export class Link {
  readonly node: NodeId
  readonly connection: Connection
  state: LinkState = { kind: 'greeting' }
  lastHeardMs = performance.now()
  /** Resolves once accepted; rejects with why not. */
  readonly greeted: Promise<void>
  readonly #host: LinkHost
  readonly #settle: { resolve: () => void; reject: (error: Error) => void }
  readonly #pings = new Map<number, (roundTripMs: number) => void>()
  #pingId = 0

  constructor(host: LinkHost, connection: Connection, node: NodeId) {
    this.#host = host
    this.connection = connection
    this.node = node
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.greeted = promise
    this.#settle = { resolve, reject }
    promise.catch(() => undefined)
  }

  /** As the side that dialled. */
  async greet(): Promise<void> {
    const { settings } = this.#host
    const signal = AbortSignal.timeout(settings.meshDialTimeoutMs)
    try {
      const opening = this.connection.newStream(controlProtocol, { signal })
      const stream = await within(opening, signal, () => undefined)
      const control = new Channel(stream, settings.meshControlMaxBytes)
      await sendControl(control, { kind: 'hello', hello: this.#introducing(this.#host.hello()) })
      const answer = await within(readControl(control, settings.meshControlMaxBytes), signal, () => undefined)
      if (answer?.kind === 'accepted') {
        if (answer.hello.cluster !== this.#host.clusterTag) throw this.#foreign()
        this.#accept(control, answer.hello)
        return
      }
      if (answer?.kind === 'farewell') {
        this.#host.farewell(this, answer.removal)
        throw new PeerRefusedError(this.node, 'this node was removed from the cluster')
      }
      throw new PeerRefusedError(
        this.node,
        answer?.kind === 'refused' ? answer.words : 'it does not have this node as a member',
      )
    } catch (error) {
      this.close(toError(error, 'the connection broke during the greeting'))
    }
  }

  #introducing(hello: Hello): Hello {
    const shown = this.#host.gate.introduction()
    return shown === undefined ? hello : { ...hello, introduction: Buffer.from(shown).toString('base64') }
  }

  /** As the side that was dialled: `control` is the stream that the dialler opened. */
  async answer(control: Channel): Promise<void> {
    const { settings, gate } = this.#host
    try {
      const first = await readControl(control, settings.meshControlMaxBytes)
      if (first?.kind !== 'hello' || this.state.kind !== 'greeting') throw new Error('no hello')
      const removal = gate.farewell(this.node)
      this.#hearIntroduction(first.hello)
      const words = this.#objection(first.hello)
      if (words === undefined) {
        await sendControl(control, { kind: 'accepted', hello: this.#host.hello() })
        this.#accept(control, first.hello)
        return
      }
      if (!gate.member(this.node) && removal !== undefined) {
        await sendControl(control, { kind: 'farewell', removal })
      } else await sendControl(control, { kind: 'refused', words })
      await this.#part(control, words)
    } catch (error) {
      this.close(toError(error, 'the connection broke during the greeting'))
    }
  }
  /** Lets the last words arrive: the other side closes when it has read them, and the deadline of strangers bounds it. */
  async #part(control: Channel, words: string): Promise<void> {
    await control.closeWrite()
    while ((await readControl(control, this.#host.settings.meshControlMaxBytes)) !== undefined);
    this.close(new PeerRefusedError(this.node, words))
  }
  /** Let in on it, the dialler is a member from here on. */
  #hearIntroduction({ cluster, introduction }: Hello): void {
    const { gate, clusterTag } = this.#host
    if (introduction === undefined || cluster !== clusterTag || gate.member(this.node)) return
    const publicKey = rawKeyOf(this.connection.remotePeer)
    if (publicKey !== undefined) gate.introduced(this.node, publicKey, Buffer.from(introduction, 'base64'))
  }
  #objection(hello: Hello): string | undefined {
    if (!this.#host.gate.member(this.node)) return 'this node is not a member of the cluster'
    if (hello.cluster !== this.#host.clusterTag) return this.#foreign().words
    if (!hello.versions.includes(controlVersion)) {
      return `it speaks mesh version ${controlVersion} and this node only ${hello.versions.join(', ')}: bring both to the same release`
    }
    return undefined
  }
  #foreign(): PeerRefusedError {
    return new PeerRefusedError(this.node, 'it is part of another cluster')
  }

  #accept(control: Channel, hello: Hello): void {
    if (this.state.kind !== 'greeting') return
    this.state = { kind: 'accepted', control, hello }
    this.lastHeardMs = performance.now()
    this.#host.accepted(this)
    this.#settle.resolve()
    this.#listen(control).then(
      () => this.close(new Error('the other side closed')),
      (error: unknown) => this.close(toError(error, 'the connection broke')),
    )
  }
  async #listen(control: Channel): Promise<void> {
    for (;;) {
      const message = await readControl(control, this.#host.settings.meshControlMaxBytes)
      if (message === undefined) return
      this.lastHeardMs = performance.now()
      await this.#handle(control, message)
    }
  }
  async #handle(control: Channel, message: ControlMessage): Promise<void> {
    switch (message.kind) {
      case 'ping':
        await sendControl(control, { kind: 'pong', id: message.id })
        return
      case 'pong':
        this.#pings.get(message.id)?.(0)
        return
      case 'farewell':
        this.#host.farewell(this, message.removal)
        return
      case 'hello':
      case 'accepted':
      case 'refused':
      case 'unknown':
    }
  }

  /** Milliseconds there and back; never settles on a dead connection (the caller has the time limit). */
  ping(signal: AbortSignal): Promise<number> {
    if (this.state.kind !== 'accepted') return Promise.reject(new Error('not accepted'))
    const { control } = this.state
    const id = (this.#pingId = (this.#pingId + 1) >>> 0)
    const startMs = performance.now()
    const answered = new Promise<number>((resolve, reject) => {
      this.#pings.set(id, () => resolve(performance.now() - startMs))
      sendControl(control, { kind: 'ping', id }).catch((error: unknown) =>
        reject(toError(error, 'the connection broke')),
      )
    })
    return within(answered, signal, () => undefined).finally(() => this.#pings.delete(id))
  }

  /** Hands over the removal and parts; used on a connection that was accepted before. */
  async bidFarewell(removal: Uint8Array | undefined): Promise<void> {
    const words = 'this node is no longer a member of the cluster'
    if (this.state.kind === 'accepted' && removal !== undefined) {
      const { control } = this.state
      const signal = AbortSignal.timeout(this.#host.settings.meshStopTimeoutMs)
      await within(sendControl(control, { kind: 'farewell', removal }), signal, () => undefined).catch(
        () => undefined,
      )
    }
    await this.closeGently(new PeerRefusedError(this.node, words))
  }

  async closeGently(why: Error): Promise<void> {
    const signal = AbortSignal.timeout(this.#host.settings.meshStopTimeoutMs)
    this.closed(why)
    // Closing a connection ends its streams as if all had been said; what is under way must fail instead.
    // (A copy: aborting takes a stream out of the connection's own list.)
    const underWay = this.connection.streams.filter((stream) => stream.protocol !== controlProtocol)
    for (const stream of underWay) stream.abort(why)
    await within(this.connection.close({ signal }), signal, () => undefined).catch(() => undefined)
    if (this.connection.status !== 'closed') this.connection.abort(why)
  }
  close(why: Error): void {
    this.closed(why)
    this.connection.abort(why)
  }
  /** The connection is gone (or about to be). */
  closed(why: Error): void {
    this.state = { kind: 'closed' }
    this.#settle.reject(why)
  }
}
