import type { Defaults } from '../../defaults.ts'
import type { Links } from './links.ts'

/**
 * Asks quiet connections for a sign of life and closes those that give none: a host that was powered off sends no
 * goodbye, and TCP alone would keep its connection for a quarter of an hour.
 */
export function startPulse(links: Links, settings: Defaults): () => void {
  const { meshPulseIntervalMs, meshPulseTimeoutMs } = settings
  let lastMs = performance.now()
  const beat = (): void => {
    const nowMs = performance.now()
    // A tick that comes late means that this process stood still: what it did not hear says nothing of others.
    const stoodStill = nowMs - lastMs > 2 * meshPulseIntervalMs
    lastMs = nowMs
    for (const link of links.all()) {
      if (link.state.kind !== 'accepted') continue
      const quietMs = nowMs - link.lastHeardMs
      if (quietMs > meshPulseTimeoutMs && !stoodStill) {
        link.close(new Error(`nothing heard for ${Math.round(quietMs)} ms`))
      } else if (quietMs > meshPulseIntervalMs / 2) {
        link.ping(AbortSignal.timeout(meshPulseTimeoutMs)).catch(() => undefined)
      }
    }
  }
  const timer = setInterval(beat, meshPulseIntervalMs)
  return () => clearInterval(timer)
}
