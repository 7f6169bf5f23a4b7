import { Command } from 'commander'

/** Every command and option as one tree, from which each shell's script asks for the words that may follow. */
export function completionCommand(): Command {
  const shells = {
    bash: `_moot() { COMPREPLY=( $(compgen -W "$(moot __complete "\${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}") ); }
complete -F _moot moot`,
    zsh: `#compdef moot
_moot() { compadd -- \${(f)"$(moot __complete "\${(@)words[2,CURRENT-1]}" 2>/dev/null)"} }
compdef _moot moot`,
    fish: `complete -c moot -f -a '(moot __complete (commandline -opc)[2..-1] 2>/dev/null)'`,
  } as const
  return new Command('completion')
    .summary('print a completion script for bash, zsh or fish')
    .argument('<shell>', 'bash, zsh or fish')
    .addHelpText('after', '\nExample:\n  source <(moot completion bash)')
    .action((shell: string) => {
      if (!(shell in shells)) throw new Error(`no completion for "${shell}": there is bash, zsh and fish`)
      process.stdout.write(`${shells[shell as keyof typeof shells]}\n`)
    })
}

/** `moot __complete WORD…`: the words that may follow, a line each. */
export function wordsCommand(program: () => Command): Command {
  return new Command('__complete')
    .helpOption(false)
    .allowUnknownOption()
    .argument('[words...]')
    .action((words: string[]) => {
      process.stdout.write(`${wordsAfter(program(), words).join('\n')}\n`)
    })
}

export function wordsAfter(program: Command, words: readonly string[]): string[] {
  let at = program
  for (const word of words) {
    const next = at.commands.find((command) => command.name() === word)
    if (next !== undefined) at = next
  }
  return [
    ...at.commands.map((command) => command.name()).filter((name) => !name.startsWith('_')),
    ...at.options.map((option) => option.long ?? option.short ?? ''),
    '--help',
  ]
}
