import { type Program, programAt } from '../detached/program.ts'

/** What is started. */
export function nameServerProgram(): Program {
  const name = import.meta.url.endsWith('.mjs') ? './name-server.mjs' : './main.ts'
  return programAt(new URL(name, import.meta.url))
}

/** Little garbage is made, so that a small heap costs nothing: 20 MB less with 1,000 services. A table of 10,000 and the next one are 100 MB. */
export const programFlags: readonly string[] = [
  '--max-semi-space-size=2',
  '--heap-growing-percent=30',
  '--optimize-for-size',
  '--max-old-space-size=256',
]
