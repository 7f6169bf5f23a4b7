import type { Context } from './context.ts'
import type { TaskAnswer } from './docker-types.ts'
import { pollMs, showRows } from './follow.ts'
import {
  type Fate,
  fateOf,
  isGoingBack,
  isSettled,
  isWell,
  lastWord,
  type OutcomeRow,
  type Written,
} from './verdict.ts'

/** So long after the failed service has gone back the others of its release must have begun to: it takes milliseconds. */
const followMs = 5_000

export interface Watched {
  /** As the API names it: `stack/shop`. */
  readonly subject: string
  readonly services: readonly Written[]
  readonly release: string | undefined
  readonly timeoutMs: number
}

export interface Seen {
  readonly written: Written
  readonly fate: Fate
  /** What a person should know of it. */
  readonly word: string | undefined
}

/** Shows how far each service has come until all have an outcome, or the time is over. */
export function watchServices(context: Context, watched: Watched): Promise<readonly Seen[]> {
  return showRows(context, {
    rows: watched.services,
    work: (say) => untilSettled(context, watched, say),
    wordOf: (ended, id) => ended.find(({ written }) => written.id === id)?.word,
  })
}

async function untilSettled(
  context: Context,
  { subject, services, release, timeoutMs }: Watched,
  progress: (id: string, text: string) => void,
): Promise<readonly Seen[]> {
  const deadline = AbortSignal.timeout(timeoutMs)
  let waitedMs = 0
  for (;;) {
    const rows = await context.client.json<OutcomeRow[]>(
      'GET',
      `/moot/v1/outcome/${encodeURIComponent(subject)}`,
    )
    const rowOf = (id: string): OutcomeRow | undefined => rows.find((row) => row.id === id)
    const fates = services.map((written) => [written, fateOf(written, rowOf(written.id))] as const)
    for (const [{ id }, fate] of fates) progress(id, titleOf(rowOf(id), fate))
    if (fates.every(([, fate]) => isSettled(fate))) {
      if (!isMoreToCome(fates, release) || waitedMs >= followMs) return seen(context, fates, rows, release)
      waitedMs += pollMs
    }
    if (deadline.aborted) return seen(context, fates, rows, release)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

/** One has failed, and others of its release run as if nothing were. */
function isMoreToCome(fates: readonly (readonly [Written, Fate])[], release: string | undefined): boolean {
  if (release === undefined || !isGoingBack(fates)) return false
  return fates.some(([{ change }, fate]) => change === 'updated' && isWell(fate))
}

async function seen(
  context: Context,
  fates: readonly (readonly [Written, Fate])[],
  rows: readonly OutcomeRow[],
  release: string | undefined,
): Promise<readonly Seen[]> {
  const isBack = isGoingBack(fates)
  return Promise.all(
    fates.map(async ([written, fate]) => {
      const row = rows.find(({ id }) => id === written.id)
      const whyNot =
        fate.kind === 'under way'
          ? `${row?.running ?? 0} of ${row?.desired ?? 0} run: ${await errorsOf(context, written.id)}`
          : ''
      return { written, fate, word: lastWord(written, fate, release, isBack, whyNot) }
    }),
  )
}

function titleOf(row: OutcomeRow | undefined, fate: Fate): string {
  if (row === undefined) return 'removed'
  const state = row.update?.state
  const doing =
    fate.kind === 'went back' || state === 'rollback_started'
      ? ' going back'
      : state === 'updating'
        ? ' updating'
        : ''
  return `${row.running}/${row.desired}${doing}`
}

async function errorsOf(context: Context, service: string): Promise<string> {
  const filters = JSON.stringify({ service: [service] })
  const tasks = await context.client.json<TaskAnswer[]>('GET', '/tasks', { query: { filters } })
  const errors = new Set(tasks.map((task) => task.Status.Err ?? '').filter((text) => text !== ''))
  return errors.size === 0
    ? 'the others are still starting; "moot service ps" shows them'
    : [...errors].join('; ')
}
