import { Command } from 'commander'
import { contextOf, withCommon } from '../context.ts'

interface ExplainAnswer {
  readonly subject: string
  readonly kind: string
  readonly lines: readonly string[]
}

export function explainCommand(): Command {
  return withCommon(new Command('explain'))
    .summary('why a task is where it is, or why it is pending')
    .argument('<task|service>', 'task id, SERVICE or SERVICE.SLOT')
    .addHelpText('after', '\nExamples:\n  moot explain web.3\n  moot explain web')
    .action(async (reference: string, _options, command: Command) => {
      const context = contextOf(command)
      const answer = await context.client.json<ExplainAnswer | ExplainAnswer[]>(
        'GET',
        `/moot/v1/explain/${encodeURIComponent(reference)}`,
      )
      if (context.json) return context.print(JSON.stringify(answer, null, 2))
      context.print(
        [answer]
          .flat()
          .map(({ subject, kind, lines }) =>
            [`${subject}: ${kind}`, ...lines.map((line) => `  ${line}`)].join('\n'),
          )
          .join('\n'),
      )
    })
}
