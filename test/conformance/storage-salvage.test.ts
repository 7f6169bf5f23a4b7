import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync, StatementSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type DamagedObject, openSqliteStorage, type StoredObject, wholeDatabase } from '@moot/crdt-state'

type Opened = ReturnType<typeof openSqliteStorage>

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'moot-salvage-'))
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(root, { recursive: true, force: true })
})

/** A store as a power failure leaves it, with a damaged frame in its log, behind which nothing can be read any more. */
async function damagedStore(): Promise<string> {
  const before = join(root, 'before')
  const storage = openSqliteStorage({ path: join(before, 'state.db') })
  for (let index = 0; index < 40; index += 1) {
    const bytes = Buffer.alloc(2_000, index)
    await storage.commit([{ kind: 'put', table: 'document', key: `d${index}`, bytes }])
  }
  const path = join(root, 'store', 'state.db')
  cpSync(before, join(root, 'store'), { recursive: true })
  await storage.close()
  const log = readFileSync(`${path}-wal`)
  const frame = 24 + 4_096
  const at = 32 + frame * Math.floor(((log.length - 32) / frame) * 0.7) + 100
  log[at] = (log[at] ?? 0) ^ 0xff
  writeFileSync(`${path}-wal`, log)
  return path
}

interface Found {
  readonly rows: readonly StoredObject[]
  readonly damaged: readonly DamagedObject[]
}
async function opened(path: string): Promise<Found> {
  const storage = openSqliteStorage({ path })
  const found = { rows: storage.list('document'), damaged: storage.damaged() }
  await storage.close()
  return found
}
const setAside = (path: string): readonly DamagedObject[] => [
  { table: 'meta', key: wholeDatabase, setAsideAs: `${path}.damaged-1` },
]

/** What an undisturbed recovery brings. */
async function expected(path: string): Promise<readonly StoredObject[]> {
  const copy = join(root, 'undisturbed')
  cpSync(join(path, '..'), copy, { recursive: true })
  const { rows, damaged } = await opened(join(copy, 'state.db'))
  expect(damaged).toEqual(setAside(join(copy, 'state.db')))
  expect(rows.length).toBeGreaterThan(10)
  expect(rows.length).toBeLessThan(40)
  return rows
}

/** Opens the store in a process that dies in front of its `nth` step that changes files. Answers whether it came so far. */
function diesAtStep(path: string, nth: number): boolean {
  const storage = join(import.meta.dirname, '../../packages/crdt-state/src/sqlite-storage.ts')
  const program = `
    import fs from 'node:fs'
    import { syncBuiltinESMExports } from 'node:module'
    import { DatabaseSync } from 'node:sqlite'
    let step = 0
    const counted = (object, name, counts = () => true) => {
      const original = object[name]
      object[name] = function (...args) {
        if (counts(...args) && ++step === ${nth}) process.kill(process.pid, 'SIGKILL')
        return original.apply(this, args)
      }
    }
    for (const name of ['openSync', 'renameSync', 'fsyncSync', 'rmSync']) counted(fs, name)
    counted(DatabaseSync.prototype, 'exec', (sql) => /BEGIN|COMMIT|CREATE|journal_mode/.test(sql))
    counted(DatabaseSync.prototype, 'close')
    syncBuiltinESMExports()
    const { openSqliteStorage } = await import(${JSON.stringify(storage)})
    openSqliteStorage({ path: ${JSON.stringify(path)} })`
  const { signal, status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
  })
  if (signal === null && status !== 0) throw new Error(stderr)
  return signal === 'SIGKILL'
}

const names = (path: string): readonly string[] =>
  readdirSync(join(path, '..')).filter((name) => !/-(?:wal|shm)$/.test(name))

describe('a damaged file that is replaced', () => {
  test('is so in the end, and loses nothing more, wherever that is broken off', async () => {
    const path = await damagedStore()
    const whole = await expected(path)
    const asFound = join(root, 'as-found')
    cpSync(join(path, '..'), asFound, { recursive: true })
    let steps = 0
    for (let isOver = false; !isOver;) {
      rmSync(join(path, '..'), { recursive: true })
      cpSync(asFound, join(path, '..'), { recursive: true })
      isOver = !diesAtStep(path, steps + 1)
      const isInPlace = !names(path).includes('state.db.new') && names(path).includes('state.db.damaged-1')
      // Once the new file is in its place, it is one like any other.
      const { rows, damaged } = await opened(path)
      expect(damaged).toEqual(isInPlace ? [] : setAside(path))
      expect(rows).toEqual(whole)
      expect(names(path)).toEqual(['state.db', 'state.db.damaged-1'])
      if (!isOver) steps += 1
    }
    expect(steps).toBeGreaterThan(15)
  }, 120_000)

  test('is not begun anew as an empty one where the disk has no room for what is left of it', async () => {
    const path = await damagedStore()
    const whole = await expected(path)
    for (const [prototype, call] of [
      [DatabaseSync.prototype, 'exec'],
      [StatementSync.prototype, 'run'],
    ] as const) {
      fullFor(prototype, call)
      expect(() => openSqliteStorage({ path })).toThrow(/cannot store .*full/)
      vi.restoreAllMocks()
    }
    expect(await opened(path)).toEqual({ rows: whole, damaged: setAside(path) })
    expect(names(path)).toEqual(['state.db', 'state.db.damaged-1'])
  })

  test('while it is used, is gone on with as soon as the disk has room', async () => {
    const path = join(root, 'state.db')
    const storage = openSqliteStorage({ path })
    const put = async (key: string): Promise<void> =>
      storage.commit([{ kind: 'put', table: 'document', key, bytes: Buffer.from(key) }])
    await put('before')
    fullFor(StatementSync.prototype, 'run')
    vi.spyOn(StatementSync.prototype, 'get').mockImplementationOnce(() => {
      throw sqliteError('malformed', 11)
    })
    expect(() => storage.get('document', 'before')).toThrow(/full/)
    await expect(put('meanwhile')).rejects.toMatchObject({ code: 'ERR_STORAGE_FAILED' })
    vi.restoreAllMocks()
    await put('after')
    expect(keys(storage)).toEqual(['after', 'before'])
    expect(storage.damaged()).toEqual(setAside(path))
    await storage.close()
    expect(() => storage.get('document', 'before')).toThrow(/cannot store a read/)
  })
})

const keys = (storage: Opened): readonly string[] => storage.list('document').map(({ key }) => key)

function sqliteError(message: string, errcode: number): Error {
  return Object.assign(new Error(message), { errcode })
}

/** What is written to a database finds no room: COMMIT, or a row. */
function fullFor(prototype: object, call: string): void {
  const original = Reflect.get(prototype, call) as (...args: unknown[]) => unknown
  vi.spyOn(prototype as Record<string, () => unknown>, call).mockImplementation(function (
    this: unknown,
    ...args: unknown[]
  ) {
    if (call === 'exec' && args[0] !== 'COMMIT') return original.apply(this, args)
    throw sqliteError('database or disk is full', 13)
  })
}
