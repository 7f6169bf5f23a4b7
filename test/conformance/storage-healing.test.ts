import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, test } from 'vitest'
import {
  generateIdentity,
  type Identity,
  memoryStorage,
  type OpenedRecordStore,
  openRecordStore,
  openSpecStore,
  openSqliteStorage,
  type SpecStore,
  type Storage,
  type Table,
} from '@moot/crdt-state'
import { task, tasks } from '../../packages/crdt-state/src/testing/record-fixtures.ts'
import { author, newActor, serviceSpec, sync } from '../../packages/crdt-state/src/testing/spec-fixtures.ts'

interface Node {
  readonly identity: Identity
  readonly specs: SpecStore
  readonly records: OpenedRecordStore
  close(): Promise<void>
}

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

async function open(storage: Storage, identity = generateIdentity().identity): Promise<Node> {
  const specs = await openSpecStore({ storage, identity, clusterId: 'c', newActor })
  const records = await openRecordStore({ storage, identity, clusterId: 'c' })
  return {
    identity,
    specs,
    records,
    async close() {
      await records.close()
      await specs.close()
      await storage.close()
    },
  }
}

async function meet(a: Node, b: Node): Promise<void> {
  await sync(a.specs, b.specs)
  a.records.receive(b.records.newerThan(a.records.digest(), 1_000_000))
  b.records.receive(a.records.newerThan(b.records.digest(), 1_000_000))
  await a.records.write(new Map())
}

/** A node on a disk and a peer in memory that know the same: two services, one of them removed, a task on each node. */
async function pair(): Promise<{ path: string; node: Node; peer: Node }> {
  const directory = mkdtempSync(join(tmpdir(), 'moot-healing-'))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  const path = join(directory, 'state.db')
  const node = await open(openSqliteStorage({ path }))
  const peer = await open(memoryStorage())
  await node.specs.create('service', 'kept', serviceSpec(), author)
  const { resource } = await node.specs.create('service', 'gone', serviceSpec(), author)
  await node.specs.remove('service', resource.id, author)
  await node.records.write(tasks(task('one')))
  await peer.records.write(tasks(task('two')))
  await meet(node, peer)
  return { path, node, peer }
}

function flipByte(path: string, table: Table, pattern = '%'): void {
  const database = new DatabaseSync(path)
  const row = database
    .prepare('SELECT key, bytes FROM object WHERE tbl = ? AND key LIKE ?')
    .get(table, pattern)
  const bytes = Buffer.from(row?.['bytes'] as Uint8Array)
  const middle = bytes.length >> 1
  bytes[middle] = (bytes[middle] ?? 0) ^ 0x10
  database.prepare('UPDATE object SET bytes = ? WHERE tbl = ? AND key = ?').run(bytes, table, row!['key']!)
  database.close()
}

const everything = (node: Node): unknown => ({
  specs: node.specs.digest(),
  kept: node.specs.byName('service', 'kept'),
  tombstones: node.specs.tombstones(),
  tasks: new Map(
    [...node.records.all().values()].map((record) => [record.node, new Set(record.tasks.keys())]),
  ),
})

describe('a byte flipped on the disk', () => {
  test.each<[Table, string?]>([
    ['document'],
    ['tombstone'],
    ['own-record', 'entry/%'],
    ['own-record', 'version'],
    ['peer-record'],
    ['meta'],
  ])('in a stored %s (%s) is detected, set aside and healed by a peer', async (table, pattern) => {
    const { path, node, peer } = await pair()
    const sound = everything(node)
    await node.close()
    flipByte(path, table, pattern)
    const again = await open(openSqliteStorage({ path }), node.identity)
    const found = [...again.specs.damage(), ...again.records.damage()]
    expect(found).toContainEqual(
      expect.objectContaining({ setAsideAs: expect.stringMatching(/^set_aside\//) }),
    )
    await meet(again, peer)
    expect(everything(again)).toEqual(sound)
    await again.close()
  })

  test('in a grave only loses the way back', async () => {
    const { path, node } = await pair()
    await node.close()
    flipByte(path, 'graveyard')
    const again = await open(openSqliteStorage({ path }), node.identity)
    expect(again.specs.damage()).toMatchObject([{ what: expect.stringMatching(/^graveyard/) }])
    await expect(again.specs.restore('service', 'gone', author)).rejects.toMatchObject({
      code: 'ERR_NOT_FOUND',
    })
    await again.close()
  })

  test('a whole database that is nonsense is begun anew and filled by a peer', async () => {
    const { path, node, peer } = await pair()
    const sound = everything(node)
    await node.close()
    writeFileSync(path, Buffer.alloc(20_000, 'nonsense'))
    const again = await open(openSqliteStorage({ path }), node.identity)
    expect(again.records.isOwnDamaged).toBe(true)
    await meet(again, peer)
    expect(everything(again)).toEqual(sound)
    expect(again.records.own.epoch).toBe(2)
    expect(again.records.isOwnDamaged).toBe(false)
    await again.close()
  })
})
