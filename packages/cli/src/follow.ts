import type { Context } from './context.ts'

export const pollMs = 250

export interface FollowedState {
  readonly kind: 'under way' | 'done' | 'failed'
  readonly text: string
}

interface Following<Look> {
  readonly timeoutMs: number
  readonly names: readonly string[]
  readonly look: () => Promise<Look>
  readonly stateOf: (look: Look, name: string) => FollowedState
}

/** Shows how far each of these is until none is under way, or the time is over; gives the last look. */
export function followUntil<Look>(context: Context, following: Following<Look>): Promise<Look> {
  const { timeoutMs, names, look, stateOf } = following
  return showRows(context, {
    rows: names.map((name) => ({ id: name, name })),
    work: async (say) => {
      const deadline = AbortSignal.timeout(timeoutMs)
      for (;;) {
        const now = await look()
        const states = names.map((name) => [name, stateOf(now, name)] as const)
        for (const [name, { kind, text }] of states) say(name, text, kind === 'done')
        if (deadline.aborted || states.every(([, { kind }]) => kind !== 'under way')) return now
        await new Promise((resolve) => setTimeout(resolve, pollMs))
      }
    },
    wordOf: (last, name) => {
      const { kind, text } = stateOf(last, name)
      return kind === 'done' ? undefined : `${name} ${text}`
    },
  })
}

/** A line for each row while the work goes on, which says how far each is; in the end `wordOf` says what went wrong with it. */
export async function showRows<End>(
  context: Context,
  {
    rows,
    work,
    wordOf,
  }: {
    readonly rows: readonly { readonly id: string; readonly name: string }[]
    readonly work: (say: (id: string, text: string, isDone?: boolean) => void) => Promise<End>
    readonly wordOf: (end: End, id: string) => string | undefined
  },
): Promise<End> {
  const { Listr } = await import('listr2')
  const titles = new Map<string, (text: string) => void>()
  const done = new Map(rows.map(({ id }) => [id, Promise.withResolvers<void>()]))
  const ended = work((id, text, isDone) => {
    titles.get(id)?.(text)
    if (isDone === true) done.get(id)?.resolve()
  })
  // Whoever awaits the list sees what went wrong; until then nobody does.
  ended.catch(() => undefined)
  const list = new Listr(
    rows.map(({ id, name }) => ({
      title: name,
      task: async (_: unknown, task: { title: string }) => {
        titles.set(id, (text) => (task.title = `${name} ${text}`))
        const word = await Promise.race([done.get(id)?.promise, ended.then((end) => wordOf(end, id))])
        if (word !== undefined) throw new Error(word)
      },
    })),
    {
      concurrent: true,
      exitOnError: false,
      renderer: context.json ? 'silent' : process.stdout.isTTY ? 'default' : 'simple',
    },
  )
  await list.run()
  return ended
}
