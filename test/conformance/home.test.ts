import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { directoryHome, type Home, memoryHome } from '../../packages/agent/src/home.ts'

const directories: string[] = []
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

/** The home, and how the next agent comes by it after the first has ended. */
const subjects: readonly [string, () => () => Home][] = [
  [
    'a home in memory',
    () => {
      const home = memoryHome()
      return () => home
    },
  ],
  [
    'a data directory',
    () => {
      const directory = mkdtempSync(join(tmpdir(), 'moot-home-'))
      directories.push(directory)
      return () => directoryHome(directory)
    },
  ],
]

/** That only one agent at a time can have it is of the directory alone: packages/agent/src/home.test.ts. */
describe.each(subjects)('%s', (_, make) => {
  const bytes = Uint8Array.of(1, 2, 3)
  const write = { kind: 'put', table: 'meta', key: 'membership', bytes } as const

  it('has one key, which outlives the agent', () => {
    const open = make()
    const { publicKey } = open().identity()
    expect(publicKey).toHaveLength(32)
    expect(open().identity().publicKey).toEqual(publicKey)
    expect(make()().identity().publicKey).not.toEqual(publicKey)
  })

  it('has no note at first, then the last that was written', () => {
    const open = make()
    expect(open().readNote()).toBeUndefined()
    open().writeNote('first')
    open().writeNote('{"second":"ä"}')
    expect(open().readNote()).toBe('{"second":"ä"}')
    expect(open().damage()).toEqual([])
  })

  it('has what was committed for the next agent', async () => {
    const open = make()
    const storage = open().openStorage()
    await storage.commit([write])
    await storage.close()
    const next = open().openStorage()
    expect(next.get('meta', 'membership')).toEqual(bytes)
    await next.commit([{ ...write, key: 'other' }])
    expect(next.list('meta').map(({ key }) => key)).toEqual(['membership', 'other'])
    await next.close()
  })

  it('has the keys of WireGuard that were made, by round, until they are removed', () => {
    const open = make()
    const [two, one] = [
      open().wireGuardKeys.make(10, '02'.repeat(32), Date.now()),
      open().wireGuardKeys.make(9, '01'.repeat(32), Date.now()),
    ]
    // As `wg pubkey` gives it.
    expect(one.key).toBe('pOCSkrZRwni5dyxWn1+puxPZBrRqtoyd+dwrRAn4ogk=')
    const list = (): readonly (readonly unknown[])[] =>
      open()
        .wireGuardKeys.list()
        .map(({ round, key, madeAtMs }) => [round, key, Math.abs(madeAtMs - Date.now()) < 60_000])
    expect(list()).toEqual([
      [9, one.key, true],
      [10, two.key, true],
    ])
    open().wireGuardKeys.remove(9)
    expect(list().map(([round]) => round)).toEqual([10])
    open().wipe(false)
    expect(list()).toEqual([])
  })

  it('forgets its store and its note with its cluster, and its key only when told to', async () => {
    const open = make()
    const { publicKey } = open().identity()
    for (const andKey of [false, true]) {
      const storage = open().openStorage()
      await storage.commit([write])
      await storage.close()
      open().writeNote('note')
      open().wipe(andKey)
      expect(open().readNote()).toBeUndefined()
      const after = open().openStorage()
      expect(after.get('meta', 'membership')).toBeUndefined()
      await after.close()
      const isSameKey = Buffer.from(publicKey).equals(open().identity().publicKey)
      expect(isSameKey).toBe(!andKey)
    }
  })
})
