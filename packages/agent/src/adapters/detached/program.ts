import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Program {
  readonly path: string
  /** Another one for another program: one that runs by an older one is replaced. */
  readonly version: string
}

/** Of a bundle its own file, which holds all that it is made of. */
export function programAt(file: URL): Program {
  const path = fileURLToPath(file)
  return { path, version: createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 16) }
}

/** SIGKILL to one that hangs, if it is still the one that wrote its number there. */
export function killHung(directory: string): void {
  const path = join(directory, 'pid')
  if (!existsSync(path)) return
  const pid = Number(readFileSync(path, 'utf8'))
  if (!(pid > 1) || !isOf(directory, pid)) return
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

function isOf(directory: string, pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`\0--directory\0${directory}\0`)
  } catch {
    return false
  }
}
