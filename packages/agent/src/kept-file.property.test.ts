import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { anyText } from '@moot/crdt-state/testing/any-text'
import { damaged, damages } from '@moot/crdt-state/testing/damaged-bytes'
import { BothCopiesDamagedError } from './errors.ts'
import { keptFile } from './kept-file.ts'

/** One line, as all that is kept: a key in base64, a note in JSON. */
const line = anyText(40).filter((text) => !text.includes('\n'))

describe('a file that is kept twice', () => {
  let directory: string
  let path: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'moot-kept-'))
    path = join(directory, 'file')
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))
  const clear = (): void => {
    for (const file of [path, `${path}.copy`]) {
      for (const each of [file, `${file}.damaged`]) rmSync(each, { force: true })
    }
  }

  test('is read as it was written, whatever happened to one of the copies', () => {
    const copy = fc.constantFrom('', '.copy')
    const fate = fc.oneof(damages, fc.uint8Array(), fc.constant('gone' as const))
    fc.assert(
      fc.property(line, copy, fate, (text, copy, fate) => {
        clear()
        keptFile(path).write(text)
        expect(keptFile(path).read()).toBe(text)
        const file = path + copy
        if (fate === 'gone') rmSync(file)
        else if (fate instanceof Uint8Array) writeFileSync(file, fate)
        else writeFileSync(file, damaged(readFileSync(file), fate))
        expect(keptFile(path).read()).toBe(text)
        // And both are sound again.
        for (const other of ['', '.copy']) {
          expect(readFileSync(path + other, 'utf8').split('\n')[0]).toBe(text)
        }
        expect(keptFile(path).damage()).toEqual([])
      }),
      { numRuns: 30 },
    )
  })

  test('of which both copies were damaged is what it was, or an error that says so', () => {
    fc.assert(
      fc.property(line, damages, damages, (text, first, second) => {
        clear()
        keptFile(path).write(text)
        for (const [file, by] of [[path, first] as const, [`${path}.copy`, second] as const]) {
          writeFileSync(file, damaged(readFileSync(file), by))
        }
        let read: unknown
        try {
          read = keptFile(path).read()
        } catch (error) {
          read = error
        }
        expect(read === text || read instanceof BothCopiesDamagedError).toBe(true)
      }),
      { numRuns: 30 },
    )
  })
})
