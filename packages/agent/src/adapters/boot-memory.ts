import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { checksum } from '../kept-file.ts'
import type { BootMemory } from '../ports/boot-memory.ts'
import { systemBootId } from './watchdog/boot-clock.ts'

/**
 * A file that names the host's boot, under /run. It is not synced: that it is lost with the host's power is the point, and
 * where /run is a disk the boot id tells.
 */
export function bootMemory(path: string, bootId = systemBootId()): BootMemory {
  return {
    read() {
      if (!existsSync(path)) return undefined
      const [boot, sum, ...rest] = readFileSync(path, 'utf8').split('\n')
      const text = rest.join('\n')
      return boot === bootId && sum === checksum(text) ? text : undefined
    },
    write(text) {
      try {
        // What it lies in holds the API's socket too, which is not for root alone.
        mkdirSync(dirname(dirname(path)), { recursive: true })
        mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
        writeFileSync(`${path}.new`, `${bootId}\n${checksum(text)}\n${text}`, { mode: 0o600 })
        renameSync(`${path}.new`, path)
        return Promise.resolve()
      } catch (error) {
        return Promise.reject(error instanceof Error ? error : new Error(String(error)))
      }
    },
    forget: () => rmSync(path, { force: true }),
  }
}
