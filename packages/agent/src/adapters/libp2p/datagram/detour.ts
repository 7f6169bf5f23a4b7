import type { Defaults } from '../../../defaults.ts'

type State =
  | { readonly kind: 'on'; readonly missed: number }
  /** UDP is blocked on the way: until then probes go over the connection alone, and then one datagram is tried. */
  | { readonly kind: 'off'; readonly untilMs: number }

/** Whether to ask one member by datagram: not while its connection answers and datagrams never do. */
export class Detour {
  readonly #settings: Defaults
  #state: State = { kind: 'on', missed: 0 }

  constructor(settings: Defaults) {
    this.#settings = settings
  }

  isOn(nowMs: number): boolean {
    return this.#state.kind === 'on' || nowMs >= this.#state.untilMs
  }
  /** True if datagrams to it had been given up. */
  answered(): boolean {
    const wasOff = this.#state.kind === 'off'
    this.#state = { kind: 'on', missed: 0 }
    return wasOff
  }
  /** The connection answered and the datagram did not. True if datagrams to it are given up with this one. */
  missed(nowMs: number): boolean {
    const { datagramMissesMax, datagramOffMs } = this.#settings
    const missed = this.#state.kind === 'on' ? this.#state.missed + 1 : datagramMissesMax
    const wasOn = this.#state.kind === 'on'
    if (missed < datagramMissesMax) this.#state = { kind: 'on', missed }
    else this.#state = { kind: 'off', untilMs: nowMs + datagramOffMs }
    return wasOn && missed >= datagramMissesMax
  }
}
