import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Watched } from '../../core/lease/watch.ts'
import { systemBootId } from './boot-clock.ts'
import { readState, writeState } from './protocol.ts'

export interface StateFile {
  read(): readonly Watched[]
  write(all: readonly Watched[]): void
}

/** Lies in memory (/run), where a rename is whole or not at all; a power failure ends what it tells of. */
export function stateFile(directory: string, log: (line: string) => void): StateFile {
  const path = join(directory, 'state.json')
  const bootId = systemBootId()
  return {
    read() {
      if (!existsSync(path)) return []
      try {
        const state = readState(readFileSync(path, 'utf8'))
        return state.bootId === bootId ? state.all : []
      } catch (error) {
        // The agent misses what it had armed, and stops those tasks itself.
        renameSync(path, `${path}.damaged`)
        log(`${path} cannot be read and is set aside as ${path}.damaged: ${String(error)}`)
        return []
      }
    },
    write(all) {
      if (all.length === 0) {
        rmSync(path, { force: true })
        return
      }
      writeFileSync(`${path}.new`, writeState({ bootId, all }), { mode: 0o600 })
      renameSync(`${path}.new`, path)
    },
  }
}

/** Whether a watchdog that is gone has left something to watch. */
export function hasState(directory: string): boolean {
  return existsSync(join(directory, 'state.json'))
}
