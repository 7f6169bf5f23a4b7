import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { allOf } from '../../core/network/name-changes.ts'
import { NameIndex } from '../../core/network/name-index.ts'
import { readKept, writeKept } from './protocol.ts'

/** What a next process begins with. Lies in memory (/run), where a rename is whole or not at all. */
export interface TableFile {
  /** Undefined where there is none, or none that can be read. */
  read(): NameIndex | undefined
  write(index: NameIndex): void
  remove(): void
}

export function tableFile(directory: string, log: (line: string) => void): TableFile {
  const path = join(directory, 'table.json')
  return {
    read() {
      if (!existsSync(path)) return undefined
      try {
        const index = new NameIndex()
        index.apply(readKept(readFileSync(path, 'utf8')))
        return index
      } catch (error) {
        // The agent says it all again.
        renameSync(path, `${path}.damaged`)
        log(`${path} cannot be read and is set aside as ${path}.damaged: ${String(error)}`)
        return undefined
      }
    },
    write(index) {
      writeFileSync(`${path}.new`, writeKept(allOf(index.toTable())), { mode: 0o600 })
      renameSync(`${path}.new`, path)
    },
    remove() {
      rmSync(path, { force: true })
    },
  }
}
