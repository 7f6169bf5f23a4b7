import { Command } from 'commander'
import { type Context, contextOf, withCommon } from '../context.ts'

export interface VotersAnswer {
  readonly epoch: number
  readonly health: 'well' | 'weak' | 'lost'
  readonly message: string
  readonly voters: readonly {
    readonly id: string
    readonly name: string
    readonly answers: boolean
    readonly problem?: string
  }[]
}

const consequences = `This takes the vote from the present voters without asking them:
  - If one of them still runs anywhere, cut off, exclusive tasks go on there AND start here: they run twice until both sides meet.
  - Do it only when the missing hosts are gone for good and surely off. If they can be started or reconnected, do that instead.
  - Nothing exclusive starts here for about 12 seconds; MOOT_FENCE jumps, so that storage that checks it refuses the older copy.`

function show(context: Context, answer: VotersAnswer): void {
  if (context.json) return context.print(JSON.stringify(answer, null, 2))
  context.show(
    [...answer.voters],
    [
      { title: 'ID', value: (voter) => voter.id, optional: true },
      { title: 'VOTER', value: (voter) => voter.name },
      { title: 'ANSWERS', value: (voter) => (voter.answers ? 'yes' : 'no') },
      { title: 'PROBLEM', value: (voter) => voter.problem ?? '', optional: true },
    ],
  )
  context.print(`epoch ${answer.epoch}: ${answer.message}`)
}

export function votersCommand(): Command {
  const list = withCommon(new Command('ls'))
    .summary('who gives leases for exclusive services (the default)')
    .action(async (_options, command: Command) => {
      const context = contextOf(command)
      show(context, await context.client.json<VotersAnswer>('GET', '/moot/v1/voters'))
    })
  const force = withCommon(new Command('force'))
    .summary('DANGEROUS: name other voters when a majority of the present ones is lost for good')
    .description(consequences)
    .argument('<node...>', 'one, three or five of them: id, name or host name')
    .option('--yes', 'do it')
    .action(async (nodes: string[], options: { yes?: boolean }, command: Command) => {
      const context = contextOf(command)
      if (options.yes !== true)
        throw new Error(`${consequences}\nNothing was changed. Say it again with --yes.`)
      show(
        context,
        await context.client.json<VotersAnswer>('POST', '/moot/v1/voters/force', { body: { nodes } }),
      )
    })
  return withCommon(new Command('voters'))
    .summary('who gives leases for exclusive services')
    .description(
      'An exclusive service (label moot.partition=exclusive) runs only where a majority of the voters has given a lease. Voters are chosen and replaced by themselves.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  moot voters\n  moot voters --json\n  moot voters force node2 node3 node4 --yes',
    )
    .addCommand(list, { isDefault: true })
    .addCommand(force)
}
