import type { TaskId } from '@moot/crdt-state'
import { defaults } from '../defaults.ts'
import type { Clock } from './clock.ts'
import { EngineUnavailableError } from './engine.errors.ts'

const memoryCalls = [
  'facts',
  'list',
  'volumes',
  'prepare',
  'create',
  'start',
  'stop',
  'remove',
  'network',
  'guests',
  'detach',
  'sweep',
  'logs',
] as const
export type MemoryCall = (typeof memoryCalls)[number]

interface Pending {
  readonly call: MemoryCall
  run(): void
  fail(error: Error): void
}

/** A simulated year must not eat the heap. */
const receivedLimit = 10_000

/** How calls reach the in-memory engine: late, failing, hanging, or not at all. What they do is the engine's affair. */
export class MemoryEngineCalls {
  readonly #clock: Clock
  readonly #latencyMs: Partial<Readonly<Record<MemoryCall, number>>>
  readonly #pending = new Set<Pending>()
  readonly #hung = new Set<Pending>()
  readonly #hanging = new Set<MemoryCall>()
  readonly #failures = new Map<MemoryCall, Error[]>()
  #downBecause: string | undefined
  readonly received: { readonly call: MemoryCall; readonly task?: TaskId }[] = []

  constructor(clock: Clock, latencyMs: Partial<Readonly<Record<MemoryCall, number>>>) {
    this.#clock = clock
    this.#latencyMs = latencyMs
  }

  /** Carries `effect` out after the call's latency and `extraMs`, also when the caller has given up by then. */
  async call<T>(
    call: MemoryCall,
    task: TaskId | undefined,
    signal: AbortSignal,
    effect: () => T,
    extraMs = 0,
  ): Promise<T> {
    this.received.push(task === undefined ? { call } : { call, task })
    if (this.received.length > receivedLimit) this.received.shift()
    signal.throwIfAborted()
    if (this.#downBecause !== undefined) throw new EngineUnavailableError(this.#downBecause)
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const pending: Pending = {
      call,
      run: () => {
        this.#forget(pending)
        const injected = this.#failures.get(call)?.shift()
        try {
          if (injected !== undefined) throw injected
          resolve(effect())
        } catch (error) {
          reject(error)
        }
      },
      fail: (error) => {
        this.#forget(pending)
        reject(error)
      },
    }
    this.#pending.add(pending)
    const begin = (): void => {
      if (!this.#pending.has(pending)) return
      if (this.#hanging.has(call)) this.#hung.add(pending)
      else pending.run()
    }
    const latencyMs = (this.#latencyMs[call] ?? 0) + extraMs
    if (latencyMs > 0) this.#clock.after(latencyMs, begin)
    else queueMicrotask(begin)
    const onAbort = (): void => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    const boundMs =
      (call === 'prepare' ? defaults.enginePullTimeoutMs : defaults.engineCallTimeoutMs) + extraMs
    const cancelBound = this.#clock.after(boundMs, () =>
      reject(new EngineUnavailableError(`${call}: no answer within ${boundMs} ms`)),
    )
    try {
      return await promise
    } finally {
      cancelBound()
      signal.removeEventListener('abort', onAbort)
    }
  }

  failNext(call: MemoryCall, error: Error): void {
    const queue = this.#failures.get(call) ?? []
    queue.push(error)
    this.#failures.set(call, queue)
  }

  /** What was to fail and was not asked for yet succeeds. */
  failNoMore(call: MemoryCall): void {
    this.#failures.delete(call)
  }

  /** None given = all; so for `release`. */
  hang(calls: readonly MemoryCall[]): void {
    for (const call of calls.length > 0 ? calls : memoryCalls) this.#hanging.add(call)
  }

  release(calls: readonly MemoryCall[]): void {
    for (const call of calls.length > 0 ? calls : memoryCalls) this.#hanging.delete(call)
    for (const pending of this.#hung) if (!this.#hanging.has(pending.call)) pending.run()
  }

  /** Calls under way are lost: neither carried out nor answered. */
  down(because: string): void {
    this.#downBecause = because
    for (const pending of this.#pending) pending.fail(new EngineUnavailableError(because))
  }

  up(): void {
    this.#downBecause = undefined
  }

  /** Forgets what was injected. */
  reset(): void {
    this.#hanging.clear()
    this.#failures.clear()
  }

  #forget(pending: Pending): void {
    this.#pending.delete(pending)
    this.#hung.delete(pending)
  }
}
