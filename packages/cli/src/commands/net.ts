import { Command } from 'commander'
import { contextOf, withCommon } from '../context.ts'
import { type InspectAnswer, type NetAnswer, networkText, overviewText } from '../net-text.ts'

export function netCommand(): Command {
  const list = withCommon(new Command('ls'))
    .summary('the tunnel, how far the other nodes are, and all networks (the default)')
    .action(async (_options, command: Command) => {
      const context = contextOf(command)
      const answer = await context.client.json<NetAnswer>('GET', '/moot/v1/net')
      context.print(context.json ? JSON.stringify(answer, null, 2) : overviewText(answer))
    })
  const inspect = withCommon(new Command('inspect'))
    .summary('the services of a network, their virtual IPs and ports, and who answers for them')
    .argument('<network>', 'id or name')
    .action(async (reference: string, _options, command: Command) => {
      const context = contextOf(command)
      const answer = await context.client.json<InspectAnswer>(
        'GET',
        `/moot/v1/net/${encodeURIComponent(reference)}`,
      )
      context.print(context.json ? JSON.stringify(answer, null, 2) : networkText(answer))
    })
  const changeKeys = withCommon(new Command('change-keys'))
    .summary('all nodes make new keys of WireGuard, as they do once a day; no connection ends')
    .action(async (_options, command: Command) => {
      const context = contextOf(command)
      const answer = await context.client.json<object>('POST', '/moot/v1/networks/change-keys', { body: {} })
      context.print(
        context.json
          ? JSON.stringify(answer, null, 2)
          : 'All nodes begin to change their keys now, or when the last change of them is over.',
      )
    })
  return withCommon(new Command('net'))
    .summary('networks over nodes: tunnel, peers, latencies, virtual IPs and endpoints')
    .description(
      'The network as this node has it: what its kernel does, and what it knows of the others. Ask another node with -H or MOOT_HOST.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  moot net\n  moot net inspect shop_default\n  moot net inspect ingress --json\n  moot net change-keys',
    )
    .addCommand(list, { isDefault: true })
    .addCommand(inspect)
    .addCommand(changeKeys)
}
