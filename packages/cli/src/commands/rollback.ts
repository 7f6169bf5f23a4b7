import { Command } from 'commander'
import { contextOf, withCommon } from '../context.ts'
import { newDistinction } from '../distinction.ts'
import { durationMs } from '../duration.ts'
import { watchServices } from '../watch.ts'
import { type DeployAnswer, judge, printJson } from './deploy.ts'

interface RollbackAnswer extends DeployAnswer {
  readonly left: readonly { readonly name: string; readonly why: string }[]
}
interface RollbackOptions {
  readonly to?: string
  readonly detach?: boolean
  readonly timeout: string
}

/** @param only `moot service rollback` means a service, whatever stack has its name. */
export function rollbackCommand(only?: 'service'): Command {
  const command = withCommon(new Command('rollback'))
    .summary('go back to what was before the last change, or to any that is named')
    .description(
      'Writes what was before the last change of a service, or before the last release of a stack, as a new change, and waits until it runs. A second one undoes the first.',
    )
    .argument(only === undefined ? '<stack|service>' : '<service>', 'id or name')
    .option('--to <number>', 'a number (N) of "moot history"')
    .option('-d, --detach', 'do not wait until it runs')
    .option('--timeout <duration>', 'how long to wait until it runs', '5m')
  if (only === undefined)
    command.addHelpText(
      'after',
      '\nExamples:\n  moot rollback shop           what the last release changed\n  moot rollback shop --to 7    as release 7 left it\n  moot rollback shop_web\n  moot rollback shop_web --to 3',
    )
  return command.action(async (reference: string, options: RollbackOptions, self: Command) => {
    const context = contextOf(self)
    const timeoutMs = durationMs(options.timeout)
    const subject = only === undefined ? reference : `service/${reference}`
    const answer = await context.client.json<RollbackAnswer>(
      'POST',
      `/moot/v1/rollback/${encodeURIComponent(subject)}`,
      { body: { ...(options.to !== undefined && { to: options.to }), release: newDistinction() } },
    )
    const { release, services, left } = answer
    for (const service of services)
      for (const warning of service.warnings) context.warn(`${service.name}: ${warning}`)
    for (const { name, why } of left) context.warn(`${name} stays as it is: ${why}`)
    const seen =
      options.detach === true ? [] : await watchServices(context, { subject, services, release, timeoutMs })
    if (context.json) printJson(context, { release, services, left, seen })
    judge(reference, release, seen)
    const to = options.to === undefined ? 'what was before' : options.to
    if (!context.json)
      context.print(`${reference}: ${services.map(({ name }) => name).join(', ')} back to ${to}`)
  })
}
