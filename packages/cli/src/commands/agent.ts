import { Command } from 'commander'

export function agentCommand(): Command {
  return new Command('agent')
    .summary("run this host's agent")
    .description('Runs the agent in the foreground; "moot agent --help" lists its options.')
    .helpOption(false)
    .allowUnknownOption()
    .argument('[options...]')
    .action(async (options: string[]) => {
      // Loaded only here: every other command starts without libp2p and Automerge.
      const { runAgent } = (await import(agentModule())) as {
        runAgent: (argv: readonly string[]) => Promise<void>
      }
      await runAgent(options)
    })
}

/** Beside the bundled CLI when it is bundled, else the source. */
function agentModule(): string {
  return new URL(
    import.meta.url.endsWith('.mjs') ? './agent.mjs' : '../../../agent/src/main.ts',
    import.meta.url,
  ).href
}
