/** As Kubernetes has them, because users know these: what a failure of each means is in `standing.ts`. */
export const probeRoles = ['startup', 'readiness', 'liveness'] as const
export type ProbeRole = (typeof probeRoles)[number]

/** What is asked of a container. */
export type HealthCheck =
  | { readonly kind: 'http'; readonly port: number; readonly path: string }
  | { readonly kind: 'tcp'; readonly port: number }

/** Intervals and counts as Docker's health check has them. */
export interface HealthProbe {
  readonly check: HealthCheck
  /** From one answer to the next question. */
  readonly intervalMs: number
  readonly timeoutMs: number
  /** So many failures in a row count. */
  readonly retries: number
  /** Failures before the first success do not count for so long after the start. */
  readonly startPeriodMs: number
}

export type HealthProbes = { readonly [Role in ProbeRole]?: HealthProbe }

export type ProbeAnswer =
  | { readonly kind: 'passed' }
  /** In words for people: `GET :8080/ready → 503`. */
  | { readonly kind: 'failed'; readonly why: string }

export function describeCheck(check: HealthCheck): string {
  return check.kind === 'http' ? `GET :${check.port}${check.path}` : `TCP :${check.port}`
}
