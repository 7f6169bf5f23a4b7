import type { HealthCheck, ProbeAnswer } from '../core/health/probe.ts'
import type { Clock } from './clock.ts'
import { lateAnswer, type Prober, refusedAnswer, statusAnswer } from './prober.ts'

/** What listens at an address. */
export type Listener =
  | { readonly kind: 'refuses' }
  /** It accepts, and says nothing. */
  | { readonly kind: 'silent' }
  | { readonly kind: 'answers'; readonly status: number; readonly afterMs?: number }

/** The Prober port in memory; `listenerAt` is asked when a question gets there. */
export function memoryProber(
  clock: Clock,
  listenerAt: (address: string, check: HealthCheck) => Listener,
): Prober {
  return {
    async probe(question, signal): Promise<ProbeAnswer> {
      const { address, check, timeoutMs } = question
      // A millisecond there and back.
      await clock.sleep(1, signal)
      const listener = listenerAt(address, check)
      if (listener.kind === 'refuses') return refusedAnswer(check)
      if (check.kind === 'tcp') return { kind: 'passed' }
      if (listener.kind === 'silent' || (listener.afterMs ?? 0) >= timeoutMs) {
        await clock.sleep(timeoutMs, signal)
        return lateAnswer(question)
      }
      if (listener.afterMs !== undefined) await clock.sleep(listener.afterMs, signal)
      return statusAnswer(check, listener.status)
    },
  }
}
