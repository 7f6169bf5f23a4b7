import { Command } from 'commander'
import { agentCommand } from './commands/agent.ts'
import { completionCommand, wordsCommand } from './commands/completion.ts'
import { conflictsCommand } from './commands/conflicts.ts'
import { deployCommand } from './commands/deploy.ts'
import { envCommand } from './commands/env.ts'
import { eventsCommand } from './commands/events.ts'
import { explainCommand } from './commands/explain.ts'
import { historyCommand } from './commands/history.ts'
import { initCommand } from './commands/init.ts'
import { joinCommand } from './commands/join.ts'
import { leaveCommand } from './commands/leave.ts'
import { logsCommand } from './commands/logs.ts'
import { netCommand } from './commands/net.ts'
import { nodeCommand } from './commands/node.ts'
import { rebalanceCommand } from './commands/rebalance.ts'
import { rollbackCommand } from './commands/rollback.ts'
import { serviceCommand } from './commands/service.ts'
import { statusCommand } from './commands/status.ts'
import { tokenCommand } from './commands/token.ts'
import { votersCommand } from './commands/voters.ts'
import { version } from './version.ts'

export function createProgram(): Command {
  const program = new Command('moot')
  return program
    .description('Runs containers on many Docker hosts with nobody in charge.')
    .version(version)
    .option('-H, --host <address>', 'agent to speak to (MOOT_HOST)')
    .option('--json', 'print JSON')
    .showHelpAfterError('(add --help for usage and examples)')
    .addHelpText(
      'after',
      '\nFirst steps:\n  moot agent &             on each host, as root\n  moot init                on the first\n  moot join TOKEN          on the others\n  eval "$(moot env)"       and docker speaks to the cluster',
    )
    .addCommand(agentCommand())
    .addCommand(initCommand())
    .addCommand(joinCommand())
    .addCommand(leaveCommand())
    .addCommand(tokenCommand())
    .addCommand(statusCommand())
    .addCommand(deployCommand())
    .addCommand(historyCommand())
    .addCommand(rollbackCommand())
    .addCommand(rebalanceCommand())
    .addCommand(serviceCommand())
    .addCommand(nodeCommand())
    .addCommand(netCommand())
    .addCommand(votersCommand())
    .addCommand(logsCommand())
    .addCommand(explainCommand())
    .addCommand(eventsCommand())
    .addCommand(conflictsCommand())
    .addCommand(envCommand())
    .addCommand(completionCommand())
    .addCommand(
      wordsCommand(() => program),
      { hidden: true },
    )
}
