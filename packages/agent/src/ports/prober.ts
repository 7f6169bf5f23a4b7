import { describeCheck, type HealthCheck, type ProbeAnswer } from '../core/health/probe.ts'

export interface ProbeQuestion {
  /** An IP address of the container, as this host reaches it. */
  readonly address: string
  readonly check: HealthCheck
  readonly timeoutMs: number
}

/** Asks a container, from outside of it, how it is. */
export interface Prober {
  /**
   * HTTP: a fresh connection, one GET; any status from 200 to 399 passes, and no redirect is followed. TCP: a connection
   * that is accepted passes. No answer in time is a failure like any other: it rejects only when `signal` aborts.
   */
  probe(question: ProbeQuestion, signal: AbortSignal): Promise<ProbeAnswer>
}

export function statusAnswer(check: HealthCheck, status: number): ProbeAnswer {
  return status >= 200 && status < 400 ? { kind: 'passed' } : failure(check, `→ ${status}`)
}

export function refusedAnswer(check: HealthCheck): ProbeAnswer {
  return failure(check, '→ connection refused')
}

export function lateAnswer({ check, timeoutMs }: ProbeQuestion): ProbeAnswer {
  return failure(check, `→ no answer within ${timeoutMs} ms`)
}

export function failure(check: HealthCheck, what: string): ProbeAnswer {
  return { kind: 'failed', why: `${describeCheck(check)} ${what}` }
}
