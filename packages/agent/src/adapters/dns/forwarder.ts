import { setTimeout as delay } from 'node:timers/promises'
import type { defaults } from '../../defaults.ts'
import type { Address } from '../../core/network/plane.ts'
import { type Exchange, exchangeTcp, exchangeUdp, isTruncated, type Sent, withId } from './exchange.ts'
import { Shares } from './shares.ts'

export type ForwarderSettings = Pick<
  typeof defaults,
  | 'nameServerForwardTimeoutMs'
  | 'nameServerForwardsMax'
  | 'nameServerForwardsPerAsker'
  | 'nameServerForwardAvoidMs'
>

export interface ForwarderParts {
  readonly settings: ForwarderSettings
  /** The host's own. */
  readonly nameservers: () => readonly string[]
  /** 53, but in tests. */
  readonly port: number
}

export interface Forwarded {
  /** As it came in. */
  readonly question: Buffer
  readonly asker: Address
  readonly transport: 'udp' | 'tcp'
  /** None: the host's. */
  readonly nameservers: readonly Address[]
}

export type ForwardResult =
  | { readonly kind: 'answer'; readonly bytes: Buffer }
  /** None has answered. */
  | { readonly kind: 'failed' }
  /** Too many are under way. */
  | { readonly kind: 'full' }

/** More are not tried: whoever asked does not wait for more than 5 s. */
const triesMax = 3

/** No answer at all: the next may know better. */
const unhelpfulCodes: ReadonlySet<number> = new Set([2, 4, 5])

/** Asks other name servers what is no name of ours. Remembers no answers: who asks much has a cache of its own. */
export class Forwarder {
  readonly #parts: ForwarderParts
  readonly #shares: Shares
  readonly #sent = new Map<number, number>()
  readonly #abort = new AbortController()
  /** Until when a server that did not answer is tried last. */
  readonly #avoided = new Map<string, number>()
  readonly #underWay = new Set<Promise<ForwardResult>>()

  constructor(parts: ForwarderParts) {
    this.#parts = parts
    this.#shares = new Shares(parts.settings.nameServerForwardsMax, parts.settings.nameServerForwardsPerAsker)
  }

  /** All that is under way now has an answer, or a part of it has none within this time. */
  async settled(withinMs: number): Promise<void> {
    const late = new AbortController()
    const timeout = delay(withinMs, undefined, { signal: late.signal }).catch(() => undefined)
    await Promise.race([Promise.allSettled(this.#underWay), timeout])
    late.abort()
  }

  /** Whether a question that came from this port is one of our own: a name server that we ask asks us. */
  isOwn(message: Buffer, port: number): boolean {
    return message.length >= 2 && this.#sent.get(message.readUInt16BE(0)) === port
  }

  /** Never rejects. */
  async ask(forwarded: Forwarded): Promise<ForwardResult> {
    if (!this.#shares.take(forwarded.asker)) return { kind: 'full' }
    const trial = this.#tryEach(forwarded)
    this.#underWay.add(trial)
    try {
      return await trial
    } finally {
      this.#underWay.delete(trial)
      this.#shares.giveBack(forwarded.asker)
    }
  }

  /** What is under way fails. */
  close(): void {
    this.#abort.abort(new Error('the name server ends'))
  }

  async #tryEach({ question, transport, nameservers }: Forwarded): Promise<ForwardResult> {
    const id = question.readUInt16BE(0)
    let unhelpful: Buffer | undefined
    for (const server of this.#inOrder(nameservers.length > 0 ? nameservers : this.#parts.nameservers())) {
      if (this.#abort.signal.aborted) break
      try {
        const answer = await this.#askOne(server, question, transport)
        this.#avoided.delete(server)
        if (!unhelpfulCodes.has(answer.readUInt16BE(2) & 0xf))
          return { kind: 'answer', bytes: withId(answer, id) }
        unhelpful ??= answer
      } catch {
        this.#avoid(server)
      }
    }
    return unhelpful === undefined ? { kind: 'failed' } : { kind: 'answer', bytes: withId(unhelpful, id) }
  }

  async #askOne(server: string, question: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer> {
    const { settings, port } = this.#parts
    const exchange = (): Exchange => ({
      server,
      port,
      question,
      signal: AbortSignal.any([this.#abort.signal, AbortSignal.timeout(settings.nameServerForwardTimeoutMs)]),
    })
    const sent: Sent[] = []
    const note = (one: Sent): void => {
      sent.push(one)
      this.#sent.set(one.id, one.port)
    }
    try {
      const answer = await exchangeUdp(exchange(), note)
      // Whoever asked over UDP has said how much it takes, and is told so in the server's own words; it comes back over TCP.
      return transport === 'tcp' && isTruncated(answer) ? await exchangeTcp(exchange()) : answer
    } finally {
      for (const { id } of sent) this.#sent.delete(id)
    }
  }

  /** Whoever did not answer a moment ago is tried last: two seconds for each question would be felt. */
  #inOrder(servers: readonly string[]): readonly string[] {
    const nowMs = performance.now()
    const isAvoided = (server: string): boolean => (this.#avoided.get(server) ?? 0) > nowMs
    return [...servers.filter((server) => !isAvoided(server)), ...servers.filter(isAvoided)].slice(
      0,
      triesMax,
    )
  }

  #avoid(server: string): void {
    if (this.#abort.signal.aborted) return
    // Services can name any servers; what is forgotten here is only who was slow.
    if (this.#avoided.size >= 256) this.#avoided.clear()
    this.#avoided.set(server, performance.now() + this.#parts.settings.nameServerForwardAvoidMs)
  }
}
