import type { NodeId } from '@moot/crdt-state'
import type { Defaults } from '../../defaults.ts'

export interface DialerOptions {
  readonly self: NodeId
  readonly settings: Defaults
  /** Uniform in [0, 1). */
  readonly random: () => number
  connected(node: NodeId): boolean
  /** Rejects when it cannot be had now. */
  connect(node: NodeId): Promise<unknown>
}

interface Target {
  attempt: number
  timer: NodeJS.Timeout | undefined
  dialling: boolean
}

/** Keeps trying to be connected with its targets: at once, then with exponential back-off and full jitter. */
export class Dialer {
  readonly #options: DialerOptions
  readonly #targets = new Map<NodeId, Target>()
  #active = 0

  constructor(options: DialerOptions) {
    this.#options = options
  }

  setTargets(nodes: ReadonlySet<NodeId>): void {
    for (const [node, target] of this.#targets) {
      if (nodes.has(node)) continue
      clearTimeout(target.timer)
      this.#targets.delete(node)
    }
    for (const node of nodes) {
      if (this.#targets.has(node)) continue
      this.#targets.set(node, { attempt: 0, timer: undefined, dialling: false })
      this.#schedule(node, this.#options.self < node ? 0 : this.#options.settings.meshDialYieldMs)
    }
  }
  /** There is a new reason to believe that it can be reached. */
  kick(node: NodeId): void {
    const target = this.#targets.get(node)
    if (target === undefined) return
    target.attempt = 0
    if (!target.dialling) this.#schedule(node, 0)
  }
  kickAll(): void {
    for (const node of this.#targets.keys()) this.kick(node)
  }
  disconnected(node: NodeId): void {
    const target = this.#targets.get(node)
    if (target !== undefined && !target.dialling) this.#schedule(node, this.#backoffMs(0))
  }
  stop(): void {
    this.setTargets(new Set())
  }

  #backoffMs(attempt: number): number {
    const { meshBackoffFirstMs, meshBackoffMaxMs } = this.#options.settings
    const ceiling = Math.min(meshBackoffMaxMs, meshBackoffFirstMs * 2 ** Math.min(attempt, 20))
    return ceiling * (0.5 + this.#options.random() / 2)
  }
  #schedule(node: NodeId, delayMs: number): void {
    const target = this.#targets.get(node)
    if (target === undefined) return
    clearTimeout(target.timer)
    target.timer = setTimeout(() => this.#dial(node, target), delayMs)
  }
  #dial(node: NodeId, target: Target): void {
    if (target.dialling || this.#options.connected(node) || this.#targets.get(node) !== target) return
    if (this.#active >= this.#options.settings.meshDialConcurrency) {
      this.#schedule(node, this.#backoffMs(0))
      return
    }
    target.dialling = true
    this.#active += 1
    this.#options.connect(node).then(
      () => this.#dialled(node, target, true),
      () => this.#dialled(node, target, false),
    )
  }
  #dialled(node: NodeId, target: Target, success: boolean): void {
    this.#active -= 1
    target.dialling = false
    if (success) target.attempt = 0
    // Also after a success: the connection may have gone before anybody could tell us.
    if (!this.#options.connected(node)) this.#schedule(node, this.#backoffMs(target.attempt++))
  }
}
