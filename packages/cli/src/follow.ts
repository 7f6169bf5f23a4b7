import type { Context } from './context.ts'

const pollMs = 250

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
export async function followUntil<Look>(context: Context, following: Following<Look>): Promise<Look> {
  const { names, stateOf } = following
  const { Listr } = await import('listr2')
  const titles = new Map<string, (text: string) => void>()
  const ends = new Map(names.map((name) => [name, Promise.withResolvers<FollowedState>()]))
  const ended = untilOver(following, (name, state) => {
    titles.get(name)?.(state.text)
    if (state.kind !== 'under way') ends.get(name)?.resolve(state)
  })
  const list = new Listr(
    names.map((name) => ({
      title: name,
      task: async (_: unknown, task: { title: string }) => {
        titles.set(name, (text) => (task.title = `${name} ${text}`))
        const last = ended.then((look) => stateOf(look, name))
        const state = await Promise.race([ends.get(name)?.promise ?? last, last])
        if (state.kind !== 'done') throw new Error(`${name} ${state.text}`)
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

async function untilOver<Look>(
  { timeoutMs, names, look, stateOf }: Following<Look>,
  progress: (name: string, state: FollowedState) => void,
): Promise<Look> {
  const deadline = AbortSignal.timeout(timeoutMs)
  for (;;) {
    const now = await look()
    const states = names.map((name) => [name, stateOf(now, name)] as const)
    for (const [name, state] of states) progress(name, state)
    if (deadline.aborted || states.every(([, { kind }]) => kind !== 'under way')) return now
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}
