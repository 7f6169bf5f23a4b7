import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, test } from 'vitest'
import {
  memoryStorage,
  openSqliteStorage,
  type Storage,
  type StorageWrite,
  type Table,
  wholeDatabase,
} from '@moot/crdt-state'

interface Harness {
  storage: Storage
  /** Closes and opens again, as a restart of the agent. */
  reopen(): Promise<Storage>
  /** Damages a stored object on the disk. */
  corrupt(table: Table, key: string): void
}

const cleanups: (() => void | Promise<void>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'moot-storage-'))
  cleanups.push(() => rmSync(path, { recursive: true, force: true }))
  return path
}

function memoryHarness(): Harness {
  const storage = memoryStorage()
  return {
    storage,
    async reopen() {
      await storage.close()
      return storage.reopen()
    },
    corrupt: (table, key) => storage.corrupt(table, key),
  }
}

function sqliteHarness(): Harness {
  const path = join(directory(), 'state.db')
  const harness: Harness = {
    storage: openSqliteStorage({ path }),
    async reopen() {
      await harness.storage.close()
      harness.storage = openSqliteStorage({ path })
      return harness.storage
    },
    corrupt(table, key) {
      const database = new DatabaseSync(path)
      const row = database.prepare('SELECT bytes FROM object WHERE tbl = ? AND key = ?').get(table, key)
      const bytes = row?.['bytes'] as Uint8Array
      bytes[0] = (bytes[0] ?? 0) ^ 1
      database.prepare('UPDATE object SET bytes = ? WHERE tbl = ? AND key = ?').run(bytes, table, key)
      database.close()
    },
  }
  cleanups.push(() => harness.storage.close())
  return harness
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (stored: Uint8Array | undefined): string | undefined =>
  stored === undefined ? undefined : new TextDecoder().decode(stored)
const put = (table: Table, key: string, value: string): StorageWrite => ({
  kind: 'put',
  table,
  key,
  bytes: bytes(value),
})

describe.each([
  ['the twin', memoryHarness],
  ['sqlite', sqliteHarness],
])('%s', (_, makeHarness) => {
  test('what is committed is read back, also after a restart', async () => {
    const harness = makeHarness()
    await harness.storage.commit([put('document', 'b', 'two'), put('document', 'a', 'one')])
    const again = await harness.reopen()
    expect(text(again.get('document', 'a'))).toBe('one')
    expect(again.list('document').map(({ key, bytes: value }) => [key, text(value)])).toEqual([
      ['a', 'one'],
      ['b', 'two'],
    ])
  })

  test('tables do not share keys', async () => {
    const { storage } = makeHarness()
    await storage.commit([put('document', 'a', 'one'), put('tombstone', 'a', 'other')])
    await storage.commit([{ kind: 'delete', table: 'tombstone', key: 'a' }])
    expect(text(storage.get('document', 'a'))).toBe('one')
    expect(storage.get('tombstone', 'a')).toBeUndefined()
    expect(storage.list('tombstone')).toEqual([])
  })

  test('commits made together keep their order', async () => {
    const { storage } = makeHarness()
    await Promise.all(['1', '2', '3'].map((value) => storage.commit([put('meta', 'k', value)])))
    expect(text(storage.get('meta', 'k'))).toBe('3')
  })

  test('a cached write is read back at once and never overtakes a later commit', async () => {
    const harness = makeHarness()
    harness.storage.cache([put('peer-record', 'n', 'old')])
    expect(text(harness.storage.get('peer-record', 'n'))).toBe('old')
    harness.storage.cache([put('peer-record', 'n', 'older')])
    await harness.storage.commit([put('peer-record', 'n', 'new')])
    expect(text(harness.storage.get('peer-record', 'n'))).toBe('new')
    expect(text((await harness.reopen()).get('peer-record', 'n'))).toBe('new')
  })

  test('a cached write survives an orderly restart', async () => {
    const harness = makeHarness()
    harness.storage.cache([put('peer-record', 'n', 'cached')])
    expect(text((await harness.reopen()).get('peer-record', 'n'))).toBe('cached')
  })

  test.each(['get', 'list'] as const)(
    'a damaged object is set aside and reported once, found by %s',
    async (how) => {
      const harness = makeHarness()
      await harness.storage.commit([put('document', 'a', 'one'), put('document', 'b', 'two')])
      harness.corrupt('document', 'a')
      const read = (): unknown =>
        how === 'get'
          ? harness.storage.get('document', 'a')
          : harness.storage.list('document').find(({ key }) => key === 'a')
      expect(read()).toBeUndefined()
      expect(read()).toBeUndefined()
      expect(harness.storage.damaged()).toMatchObject([
        { table: 'document', key: 'a', setAsideAs: expect.stringMatching(/^set_aside\/\d+$/) },
      ])
      expect(harness.storage.list('document').map(({ key }) => key)).toEqual(['b'])
      await harness.storage.commit([put('document', 'a', 'healed')])
      expect(text(harness.storage.get('document', 'a'))).toBe('healed')
    },
  )

  test('the caller may change its bytes after the call, and those it got', async () => {
    const { storage } = makeHarness()
    await storage.commit([put('meta', 'k', 'value')])
    const first = storage.get('meta', 'k')
    first?.fill(0)
    expect(text(storage.get('meta', 'k'))).toBe('value')
  })
})

describe('a commit resolves only after the disk has it', () => {
  test('the twin: a commit whose sync is held is not resolved, and a crash loses it', async () => {
    const storage = memoryStorage()
    await storage.commit([put('meta', 'kept', '1')])
    storage.holdSync()
    storage.cache([put('peer-record', 'n', 'lost')])
    let settled = false
    const lost = storage.commit([put('meta', 'lost', '1')]).finally(() => {
      settled = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(settled).toBe(false)
    storage.crash()
    await expect(lost).rejects.toMatchObject({ code: 'ERR_STORAGE_FAILED' })
    expect(storage.list('meta').map(({ key }) => key)).toEqual(['kept'])
    expect(storage.get('peer-record', 'n')).toBeUndefined()
  })

  test('the twin: the handle of a stopped agent writes nothing more', async () => {
    const old = memoryStorage()
    await old.commit([put('meta', 'k', 'old')])
    const storage = old.reopen()
    await expect(old.commit([put('meta', 'k', 'ghost')])).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' })
    old.cache([put('meta', 'k', 'ghost')])
    expect(text(storage.get('meta', 'k'))).toBe('old')
  })

  test('the twin: a failed commit changes nothing, and the next one works', async () => {
    const storage = memoryStorage()
    storage.failNext(new Error('disk full'))
    await expect(storage.commit([put('meta', 'a', '1'), put('meta', 'b', '1')])).rejects.toThrow(/disk full/)
    expect(storage.list('meta')).toEqual([])
    await storage.commit([put('meta', 'a', '1')])
    expect(text(storage.get('meta', 'a'))).toBe('1')
  })

  test('the twin: commits made together share one sync', async () => {
    const storage = memoryStorage()
    await Promise.all(['a', 'b', 'c'].map((key) => storage.commit([put('meta', key, '1')])))
    expect(storage.syncs()).toBe(1)
  })

  test('sqlite: the connection syncs its log at each commit', async () => {
    const storage = openSqliteStorage({ path: join(directory(), 'state.db') })
    cleanups.push(() => storage.close())
    expect(storage.durability()).toEqual({ journalMode: 'wal', synchronous: 2 })
  })

  test('sqlite: at the moment a commit resolves, its bytes are in the log file', async () => {
    const path = join(directory(), 'state.db')
    const storage = openSqliteStorage({ path })
    cleanups.push(() => storage.close())
    const commit = storage.commit([put('meta', 'k', 'a value that is easy to find')])
    expect(readFileSync(`${path}-wal`).includes('easy to find')).toBe(false)
    await commit
    expect(readFileSync(`${path}-wal`).includes('easy to find')).toBe(true)
  })

  test('sqlite: one bad commit does not fail those made with it', async () => {
    const storage = openSqliteStorage({ path: join(directory(), 'state.db') })
    cleanups.push(() => storage.close())
    const bad = { ...put('meta', 'bad', ''), key: 7 as unknown as string, bytes: 'no bytes' as never }
    const outcomes = await Promise.allSettled([
      storage.commit([put('meta', 'a', '1')]),
      storage.commit([put('meta', 'half', '1'), bad]),
      storage.commit([put('meta', 'b', '1')]),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(storage.list('meta').map(({ key }) => key)).toEqual(['a', 'b'])
  })
})

describe('sqlite after damage', () => {
  /** A database with enough rows to have several pages, closed. */
  async function filled(): Promise<string> {
    const path = join(directory(), 'state.db')
    const storage = openSqliteStorage({ path })
    const keys = Array.from({ length: 200 }, (_, index) => `k${String(index).padStart(3, '0')}`)
    await storage.commit(keys.map((key) => put('document', key, key.repeat(100))))
    await storage.close()
    return path
  }
  function reopened(path: string): ReturnType<typeof openSqliteStorage> {
    const storage = openSqliteStorage({ path })
    cleanups.push(() => storage.close())
    return storage
  }

  test('a file that is no database is renamed and a new one begun', async () => {
    const path = await filled()
    writeFileSync(path, 'this is no database, and it is long enough to have a header'.repeat(20))
    const storage = reopened(path)
    expect(storage.list('document')).toEqual([])
    expect(storage.damaged()).toEqual([
      { table: 'meta', key: wholeDatabase, setAsideAs: `${path}.damaged-1` },
    ])
    await storage.commit([put('meta', 'k', 'works')])
    expect(text(storage.get('meta', 'k'))).toBe('works')
    expect(readFileSync(`${path}.damaged-1`, 'utf8')).toContain('this is no database')
  })

  test('an empty file is a new database', async () => {
    const path = await filled()
    writeFileSync(path, '')
    expect(reopened(path).list('document')).toEqual([])
  })

  test('what is still readable of a damaged file is kept', async () => {
    const path = await filled()
    const file = readFileSync(path)
    // One page in the middle: its header and cell pointers become nonsense.
    const middle = Math.floor(file.length / 4096 / 2) * 4096
    file.fill(0xff, middle, middle + 4096)
    writeFileSync(path, file)
    const storage = reopened(path)
    const kept = storage.list('document')
    expect(storage.damaged().map(({ key }) => key)).toContain(wholeDatabase)
    expect(kept.length).toBeGreaterThan(100)
    for (const { key, bytes: value } of kept) expect(text(value)).toBe(key.repeat(100))
  })

  test('no flipped byte anywhere in the file is ever read as data, nor stops the opening', async () => {
    const path = await filled()
    const sound = readFileSync(path)
    for (let offset = 5; offset < sound.length; offset += 1_709) {
      const file = Buffer.from(sound)
      file[offset] = (file[offset] ?? 0) ^ 0x41
      writeFileSync(path, file)
      rmSync(`${path}-wal`, { force: true })
      const storage = openSqliteStorage({ path })
      for (const { key, bytes: value } of storage.list('document')) expect(text(value)).toBe(key.repeat(100))
      await storage.commit([put('meta', 'k', 'works')])
      await storage.close()
    }
  })

  test('a log that was cut in the middle of a commit leaves the commits before it', async () => {
    const path = join(directory(), 'state.db')
    const storage = openSqliteStorage({ path })
    cleanups.push(() => storage.close())
    await storage.commit([put('meta', 'first', '1')])
    const firstEnd = readFileSync(`${path}-wal`).length
    await storage.commit([put('meta', 'second', 'x'.repeat(10_000))])
    const copy = join(directory(), 'state.db')
    writeFileSync(copy, readFileSync(path))
    writeFileSync(`${copy}-wal`, readFileSync(`${path}-wal`).subarray(0, firstEnd + 6_000))
    const torn = reopened(copy)
    expect(torn.list('meta').map(({ key }) => key)).toEqual(['first'])
    expect(torn.damaged()).toEqual([])
  })

  test('damaged files are kept up to a bound', async () => {
    const path = await filled()
    for (let round = 0; round < 8; round += 1) {
      writeFileSync(path, 'no database'.repeat(1_000))
      await openSqliteStorage({ path }).close()
    }
    const names = readdirSync(join(path, '..')).filter((name) => /damaged-\d+$/.test(name))
    expect(names.toSorted()).toEqual([4, 5, 6, 7, 8].map((number) => `state.db.damaged-${number}`))
  })
})
