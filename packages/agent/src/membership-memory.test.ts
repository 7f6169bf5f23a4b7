import { memoryStorage, type NodeId } from '@moot/crdt-state'
import { expect, test } from 'vitest'
import { memoryHome } from './home.ts'
import { openMembershipMemory } from './membership-memory.ts'

const others = new Map([['a' as NodeId, ['/ip4/10.0.0.1/tcp/7420']]])

test('whom a node knew is remembered over starts, and not into another cluster', async () => {
  const home = memoryHome()
  const storage = memoryStorage()
  const first = openMembershipMemory(home, storage)
  await first.write({ kind: 'active', clusterId: 'one' })
  first.rememberMembers(others)
  const again = openMembershipMemory(home, storage)
  expect(again.members()).toEqual(others)
  await again.write({ kind: 'active', clusterId: 'one' })
  expect(again.members()).toEqual(others)
  await again.write({ kind: 'active', clusterId: 'two' })
  expect(again.members()).toEqual(new Map())
  expect(openMembershipMemory(home, storage).members()).toEqual(new Map())
})
