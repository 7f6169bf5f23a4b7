export interface FlapSettings {
  readonly flapPauseFirstMs: number
  readonly flapPauseMaxMs: number
  readonly flapForgetMs: number
}

/** How often something that should be rare has happened, as far as it is remembered. Times are monotonic, ms. */
export interface Flaps {
  readonly count: number
  readonly lastAtMs: number
}

export const noFlaps: Flaps = { count: 0, lastAtMs: -Infinity }

export function onceMore({ count, lastAtMs }: Flaps, nowMs: number, { flapForgetMs }: FlapSettings): Flaps {
  return { count: nowMs - lastAtMs > flapForgetMs ? 1 : count + 1, lastAtMs: nowMs }
}

/** Nothing, then ever longer: what flaps is believed ever more slowly (as routes are, RFC 2439). */
export function pauseAfter(count: number, { flapPauseFirstMs, flapPauseMaxMs }: FlapSettings): number {
  return count <= 0 ? 0 : Math.min(flapPauseFirstMs * 2 ** (count - 1), flapPauseMaxMs)
}
