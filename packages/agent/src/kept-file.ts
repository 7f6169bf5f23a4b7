import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname } from 'node:path'
import { BothCopiesDamagedError } from './errors.ts'

/** As `damage` of the stores tells it. */
export interface FileDamage {
  readonly what: string
  readonly setAsideAs: string
  readonly healed: boolean
}

/** A small text on the disk that no peer can give back, so it is kept twice, each copy with its checksum. */
export interface KeptFile {
  /**
   * A damaged copy is set aside, reported, and made anew from the other. Undefined: there is none. Throws
   * `BothCopiesDamagedError` and leaves both where they are.
   */
  read(): string | undefined
  /** Durable when it returns. */
  write(text: string): void
  remove(): void
  damage(): readonly FileDamage[]
}

export function keptFile(path: string): KeptFile {
  const copies = [path, `${path}.copy`]
  const found: FileDamage[] = []

  function write(text: string): void {
    for (const copy of copies) replaceFile(copy, `${text}\n${checksum(text)}\n`)
  }

  return {
    read() {
      const [first, second] = copies.map(readCopy)
      const text = first?.text ?? second?.text
      // Written before checksums were: good as long as nothing says otherwise.
      if (text === undefined && first?.bare !== undefined && second === undefined) {
        write(first.bare)
        return first.bare
      }
      if (text === undefined && (first !== undefined || second !== undefined))
        throw new BothCopiesDamagedError(path)
      if (text === undefined) return undefined
      for (const [index, copy] of [first, second].entries()) {
        const name = copies[index]
        if (name === undefined || copy === undefined || copy.text !== undefined) continue
        renameSync(name, `${name}.damaged`)
        found.push({ what: `file ${basename(name)}`, setAsideAs: `${name}.damaged`, healed: true })
      }
      if (first?.text !== text || second?.text !== text) write(text)
      return text
    },
    write,
    remove() {
      for (const copy of copies) rmSync(copy, { force: true })
    },
    damage: () => [...found],
  }
}

/** `text`: its checksum holds. `bare`: one line without any. Undefined: no such file. */
function readCopy(path: string): { readonly text?: string; readonly bare?: string } | undefined {
  if (!existsSync(path)) return undefined
  const content = readFileSync(path, 'utf8')
  const [text = '', sum, ...rest] = content.split('\n')
  if (sum !== undefined && rest.join('') === '' && sum === checksum(text)) return { text }
  return sum === undefined || sum === '' ? { bare: text } : {}
}

/** Written aside and renamed: a crash leaves the old one or the new one, never half of it. Only its owner can read it. */
export function replaceFile(path: string, content: string): void {
  rmSync(`${path}.new`, { force: true })
  writeFileSync(`${path}.new`, content, { mode: 0o600, flush: true })
  renameSync(`${path}.new`, path)
  const directory = openSync(dirname(path), 'r')
  try {
    // The rename itself is not on the disk before its directory is.
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

/** For small texts: enough to tell damage, not forgery. */
export function checksum(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}
