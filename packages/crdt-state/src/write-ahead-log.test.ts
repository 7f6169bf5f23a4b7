import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openSqliteStorage } from './sqlite-storage.ts'
import { wholeDatabase } from './storage.ts'
import { isLogDamaged } from './write-ahead-log.ts'

describe('the log of a store that was not closed', () => {
  let directory: string
  let path: string
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'moot-log-'))
    path = join(directory, 'state.db')
    const original = join(directory, 'running.db')
    const storage = openSqliteStorage({ path: original })
    for (const name of ['one', 'two', 'three', 'four', 'five']) {
      await storage.commit([{ kind: 'put', table: 'document', key: name, bytes: Buffer.from(name) }])
    }
    // What a killed agent leaves: closing would fold the log into the file.
    copyFileSync(original, path)
    copyFileSync(`${original}-wal`, `${path}-wal`)
    await storage.close()
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  const flip = (at: number): void => {
    const bytes = readFileSync(`${path}-wal`)
    bytes[at] = (bytes[at] ?? 0) ^ 0x10
    writeFileSync(`${path}-wal`, bytes)
  }
  const keys = async (): Promise<{ keys: string[]; damaged: readonly unknown[] }> => {
    const storage = openSqliteStorage({ path })
    const found = storage.list('document').map(({ key }) => key)
    const damaged = storage.damaged()
    await storage.close()
    return { keys: found.toSorted(), damaged }
  }

  test('is sound, and nothing of it is lost', async () => {
    expect(isLogDamaged(`${path}-wal`)).toBe(false)
    expect(await keys()).toEqual({ keys: ['five', 'four', 'one', 'three', 'two'], damaged: [] })
  })

  test('is no damage when it ends in the middle of a frame: nobody was told of that commit', async () => {
    truncateSync(`${path}-wal`, statSync(`${path}-wal`).size - 100)
    expect(isLogDamaged(`${path}-wal`)).toBe(false)
    expect((await keys()).damaged).toEqual([])
  })

  test.each([
    ['in its header', () => 9],
    ['in the middle', (size: number) => size >> 1],
    ['in the last commit', (size: number) => size - 2_000],
  ])('with a byte flipped %s is told as damage, not passed over as SQLite does', async (_where, at) => {
    flip(at(statSync(`${path}-wal`).size))
    const { damaged } = await keys()
    expect(damaged).toEqual([
      { table: 'meta', key: wholeDatabase, setAsideAs: expect.stringMatching(/damaged-1$/) },
    ])
  })
})
