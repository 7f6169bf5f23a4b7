import { memoryStorage, type NodeId } from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { anyText } from '@moot/crdt-state/testing/any-text'
import { damaged, damages } from '@moot/crdt-state/testing/damaged-bytes'
import { type Home, memoryHome } from './home.ts'
import { type KnownMembers, openMembershipMemory, type StoredMembership } from './membership-memory.ts'

const text = anyText(8)
const id = fc.stringMatching(/^[0-9a-z]{25}$/)
const membership: fc.Arbitrary<StoredMembership> = fc.record(
  {
    kind: fc.constantFrom('active' as const, 'removed' as const),
    clusterId: id,
    advertised: text,
    by: text,
    atMs: fc.nat({ max: 2 ** 42 }),
    introduction: fc.array(fc.record({ key: text, by: text, signature: text }), { maxLength: 8 }),
  },
  { requiredKeys: ['kind', 'clusterId'] },
)
const members: fc.Arbitrary<KnownMembers> = fc
  .array(fc.tuple(id, fc.array(text, { maxLength: 3 })), { maxLength: 4 })
  .map((entries) => new Map(entries.map(([node, addresses]) => [node as NodeId, addresses])))

describe('what a node remembers of its membership', () => {
  test('is read as it was written, from the store and its note, and from the note alone', async () => {
    await fc.assert(
      fc.asyncProperty(membership, members, fc.boolean(), async (membership, members, isStoreLost) => {
        const home = memoryHome()
        const memory = openMembershipMemory(home, home.openStorage())
        await memory.write(membership)
        memory.rememberMembers(members)
        const again = openMembershipMemory(home, isStoreLost ? memoryStorage() : home.openStorage())
        expect(again.read()).toEqual(membership)
        expect(again.members()).toEqual(members)
        expect(again.damage()).toEqual([])
        // One line, as a kept file wants it.
        expect(home.readNote()).not.toContain('\n')
      }),
      { numRuns: 100 },
    )
  })

  test('is whole when who admitted the node cannot be read', async () => {
    const home = memoryHome()
    const storage = home.openStorage()
    for (const introduction of [
      7,
      [{}],
      Array.from({ length: 99 }, () => ({ key: '', by: '', signature: '' })),
    ]) {
      const bytes = Buffer.from(JSON.stringify({ kind: 'active', clusterId: 'c', introduction }))
      await storage.commit([{ kind: 'put', table: 'meta', key: 'membership', bytes }])
      expect(openMembershipMemory(home, storage).read()).toEqual({ kind: 'active', clusterId: 'c' })
    }
  })

  test('is read from what is left, and nothing is thrown, whatever became of the row and of the note', async () => {
    const noise = fc.oneof(fc.string(), fc.json())
    await fc.assert(
      fc.asyncProperty(
        membership,
        members,
        damages,
        fc.option(noise),
        fc.boolean(),
        async (was, members, by, noise, isRow) => {
          const home = memoryHome()
          const storage = home.openStorage()
          const memory = openMembershipMemory(home, storage)
          await memory.write(was)
          memory.rememberMembers(members)
          const bad = (sound: Uint8Array): Uint8Array =>
            // Cut short: a change that leaves the shape alone is what checksums are for.
            noise === null ? damaged(sound, by).subarray(0, 20) : Buffer.from(noise)
          let left: Home = home
          if (isRow) {
            const bytes = bad(storage.get('meta', 'membership')!)
            await storage.commit([{ kind: 'put', table: 'meta', key: 'membership', bytes }])
          } else {
            const note = Buffer.from(bad(Buffer.from(home.readNote()!))).toString('utf8')
            left = { ...home, readNote: () => note }
          }
          const again = openMembershipMemory(left, storage)
          expect(again.read()).toEqual(was)
          expect(again.members()).toEqual(isRow ? members : new Map())
          await again.write({ ...was, clusterId: 'next' })
          expect(openMembershipMemory(home, storage).read()).toEqual({ ...was, clusterId: 'next' })
        },
      ),
      { numRuns: 100 },
    )
  })
})
