import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DirectoryInUseError } from './errors.ts'
import { directoryHome } from './home.ts'
import { wireGuardKeyFile } from './wire-guard-keys.ts'

describe('a data directory', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'moot-home-'))
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  it('serves one agent: a second one is told so, and may have it once the first has gone', async () => {
    const storage = directoryHome(directory).openStorage()
    expect(() => directoryHome(directory).openStorage()).toThrow(DirectoryInUseError)
    await storage.close()
    await directoryHome(directory).openStorage().close()
  })

  it('can be used although its lock is damaged', async () => {
    writeFileSync(join(directory, 'lock'), 'x'.repeat(5_000))
    const storage = directoryHome(directory).openStorage()
    expect(storage.damaged()).toEqual([])
    await storage.close()
  })

  it('keeps private keys from everybody else, and takes a file that holds none for no key', () => {
    const { wireGuardKeys } = directoryHome(directory)
    wireGuardKeys.make(3, 'ab'.repeat(32), Date.now())
    const file = wireGuardKeyFile(directory, 3)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'utf8')).toBe(`${Buffer.from('ab'.repeat(32), 'hex').toString('base64')}\n`)
    writeFileSync(file, 'half')
    expect(wireGuardKeys.list()).toEqual([])
  })

  it('forgets a cluster and keeps its key, or forgets both', async () => {
    const home = directoryHome(directory)
    const key = home.identity().publicKey
    home.writeNote('{}')
    await home.openStorage().close()
    // A replacing of a damaged store that was broken off: not gone on with in the next cluster.
    writeFileSync(join(directory, 'state.db.new'), '')
    home.wipe(false)
    const storage = home.openStorage()
    expect(storage.damaged()).toEqual([])
    await storage.close()
    expect(home.readNote()).toBeUndefined()
    expect(directoryHome(directory).identity().publicKey).toEqual(key)
    home.wipe(true)
    expect(directoryHome(directory).identity().publicKey).not.toEqual(key)
  })
})
