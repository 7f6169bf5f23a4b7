/** A service that a command has written, as the agent answered. */
export interface Written {
  readonly id: string
  readonly name: string
  readonly version: number
  readonly change: 'created' | 'updated' | 'unchanged'
}

/** A row of `/moot/v1/outcome`. */
export interface OutcomeRow {
  readonly id: string
  readonly name: string
  readonly version: number
  readonly running: number
  readonly desired: number
  readonly update?: { readonly state: string; readonly message: string }
  readonly failure?: {
    readonly task: string
    readonly error?: string
    readonly release?: { readonly id: string; readonly service: string }
  }
}

/** What has become of a service that was written. */
export type Fate =
  | { readonly kind: 'under way' }
  | { readonly kind: 'runs' }
  | { readonly kind: 'paused'; readonly message: string }
  /** Its update has failed, or that of another service of its release (`service`); `ended`: it runs what it ran before. */
  | {
      readonly kind: 'went back'
      readonly ended: boolean
      readonly why: string
      readonly service: string | undefined
    }
  | { readonly kind: 'removed' }

export function fateOf(written: Written, row: OutcomeRow | undefined): Fate {
  if (row === undefined) return { kind: 'removed' }
  const state = row.update?.state ?? ''
  const message = row.update?.message ?? ''
  const isAtWork = state === 'updating' || state === 'rollback_started'
  const runs = row.running >= row.desired && !isAtWork
  // Of a service that was left as it was, an earlier failure is none of this command's.
  const { failure } = row
  if (failure !== undefined && (written.change !== 'unchanged' || row.version !== written.version)) {
    const said = failure.error === undefined ? '' : `: ${failure.error}`
    const ended = runs || state === 'rollback_paused'
    const pause = state === 'rollback_paused' ? `; going back is paused: ${message}` : ''
    return {
      kind: 'went back',
      ended,
      why: `task ${failure.task}${said}${pause}`,
      service: failure.release?.service,
    }
  }
  if (state === 'paused' || state === 'rollback_paused') return { kind: 'paused', message }
  return { kind: runs ? 'runs' : 'under way' }
}

/** While this is so, one that runs may still go back with the release. */
export function isGoingBack(fates: readonly (readonly [Written, Fate])[]): boolean {
  return fates.some(([{ change }, fate]) => change === 'updated' && hasFailed(fate))
}

/** By itself, and not with its release. */
export function hasFailed(fate: Fate): boolean {
  return fate.kind === 'went back' && fate.service === undefined
}

export function isSettled(fate: Fate): boolean {
  return fate.kind === 'went back' ? fate.ended : fate.kind !== 'under way'
}

/** Is it what was asked for? */
export function isWell(fate: Fate): boolean {
  return fate.kind === 'runs'
}

/** For a person, of one service when all is over; undefined: there is nothing to say. */
export function lastWord(
  { name, change }: Written,
  fate: Fate,
  release: string | undefined,
  isBack: boolean,
  whyNot: string,
): string | undefined {
  switch (fate.kind) {
    case 'under way':
      return `${name}: ${whyNot}`
    case 'paused':
      return `${name}: the update is paused: ${fate.message}`
    case 'removed':
      return `${name}: was removed meanwhile`
    case 'went back':
      if (!fate.ended) return `${name}: is still going back: ${fate.why}`
      if (fate.service === undefined) return `${name}: the update failed and is undone: ${fate.why}`
      return `${name}: went back with its release: ${fate.service} failed`
    case 'runs':
      if (!isBack || release === undefined || change === 'unchanged') return undefined
      return change === 'created'
        ? `${name}: stays: it is new, and there is nothing to go back to`
        : `${name}: stays: somebody has changed it since`
  }
}
