import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BothCopiesDamagedError } from './errors.ts'
import { keptFile } from './kept-file.ts'

describe('a file that is kept twice', () => {
  let directory: string
  let path: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'moot-kept-'))
    path = join(directory, 'node.key')
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  const flip = (file: string): void => {
    const bytes = readFileSync(file)
    bytes[3] = (bytes[3] ?? 0) ^ 0x01
    writeFileSync(file, bytes)
  }

  it('is read as it was written, by its owner alone', () => {
    expect(keptFile(path).read()).toBeUndefined()
    keptFile(path).write('secret')
    expect(keptFile(path).read()).toBe('secret')
    for (const file of [path, `${path}.copy`]) expect(statSync(file).mode & 0o777).toBe(0o600)
    keptFile(path).remove()
    expect(keptFile(path).read()).toBeUndefined()
  })

  it('is healed from its other copy, whichever is damaged or missing', () => {
    keptFile(path).write('secret')
    for (const file of [path, `${path}.copy`]) {
      flip(file)
      const kept = keptFile(path)
      expect(kept.read()).toBe('secret')
      expect(kept.damage()).toMatchObject([{ setAsideAs: `${file}.damaged`, healed: true }])
      rmSync(file)
      expect(keptFile(path).read()).toBe('secret')
      expect(existsSync(file)).toBe(true)
      expect(keptFile(path).damage()).toEqual([])
    }
  })

  it('is never taken for absent when both copies are damaged', () => {
    keptFile(path).write('secret')
    flip(path)
    flip(`${path}.copy`)
    expect(() => keptFile(path).read()).toThrow(BothCopiesDamagedError)
    expect(() => keptFile(path).read()).toThrow(BothCopiesDamagedError)
  })

  it('of a time before checksums is read, and given them', () => {
    writeFileSync(path, 'secret')
    expect(keptFile(path).read()).toBe('secret')
    flip(path)
    expect(keptFile(path).read()).toBe('secret')
  })
})
