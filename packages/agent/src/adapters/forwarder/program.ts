import { type Program, programAt } from '../detached/program.ts'

/** What is started. */
export function forwarderProgram(): Program {
  const name = import.meta.url.endsWith('.mjs') ? './forwarder.mjs' : './main.ts'
  return programAt(new URL(name, import.meta.url))
}

/** What passes through is soon garbage: with the smallest young generation most of the time would go into collecting it. */
export const programFlags: readonly string[] = ['--max-semi-space-size=8', '--max-old-space-size=512']
