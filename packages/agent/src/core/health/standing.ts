import type { ProbeRole } from './probe.ts'
import type { ProbeState, Watched } from './watched.ts'

/** What a container's probes say of it as a whole. */
export type HealthStanding =
  /** Not up yet: it has not succeeded once at what it must succeed at first. */
  | { readonly kind: 'starting'; readonly why: string | undefined }
  | { readonly kind: 'well' }
  /** It runs and gets no traffic; it comes back by itself. */
  | { readonly kind: 'unready'; readonly why: string }
  /** It is to be stopped, and its task started anew; not yet where only the record says so, of before the agent restarted. */
  | { readonly kind: 'ill'; readonly why: string; readonly by?: 'record' }

/**
 * Startup and readiness are what a start waits for, and what never comes is ill, as a Docker health check that never gets
 * healthy: else an update would wait for ever. Later only liveness makes ill, and readiness only unready.
 */
export function standingOf({ states }: Watched): HealthStanding {
  const startup = states.get('startup')
  const readiness = states.get('readiness')
  const liveness = states.get('liveness')
  if (startup?.verdict === 'bad') return { kind: 'ill', why: told('startup', startup) }
  if (startup?.verdict === 'open') return { kind: 'starting', why: startup.why && told('startup', startup) }
  if (liveness?.verdict === 'bad') {
    // Taken over as bad, and not asked since.
    const isByRecord = liveness.failures === 0
    return { kind: 'ill', why: told('liveness', liveness), ...(isByRecord && { by: 'record' }) }
  }
  if (readiness === undefined || readiness.verdict === 'good') return { kind: 'well' }
  const why = told('readiness', readiness)
  if (readiness.verdict === 'open') return { kind: 'starting', why: readiness.why && why }
  return { kind: readiness.hasSucceeded ? 'unready' : 'ill', why }
}

/** What was taken over from the record says whose it is. */
function told(role: ProbeRole, { why = 'failed' }: ProbeState): string {
  return why.startsWith(`${role}: `) ? why : `${role}: ${why}`
}
