import { Command } from 'commander'
import { contextOf, withCommon } from '../context.ts'

export function envCommand(): Command {
  return withCommon(new Command('env'))
    .summary('point the docker CLI at the cluster')
    .description('Prints the variables that point the docker CLI at this agent.')
    .addHelpText('after', '\nExample:\n  eval "$(moot env)"\n  docker service ls')
    .action((_options, command: Command) => {
      const context = contextOf(command)
      const host = context.client.host.startsWith('/') ? `unix://${context.client.host}` : context.client.host
      context.print(context.json ? JSON.stringify({ DOCKER_HOST: host }) : `export DOCKER_HOST=${host}`)
    })
}
