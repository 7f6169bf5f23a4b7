import { expect, test } from 'vitest'
import { memoryCluster } from './testing/memory-cluster.ts'
import { createTokenKeeper } from './token-keeper.ts'

const ttlMs = 60_000

function keeperAt(nowMs: { value: number }) {
  const cluster = memoryCluster()
  return { cluster, keeper: createTokenKeeper(cluster, ttlMs, () => nowMs.value) }
}

test('a hundred reads leave one token outstanding', async () => {
  const { cluster, keeper } = keeperAt({ value: Date.now() })
  const read = await Promise.all(Array.from({ length: 100 }, () => keeper.current()))
  expect(new Set(read).size).toBe(1)
  expect(cluster.tokens()).toHaveLength(1)
})

test('a token that was used is not shown again', async () => {
  const { cluster, keeper } = keeperAt({ value: Date.now() })
  const first = await keeper.current()
  const [entry] = cluster.tokens() as unknown as { usedBy: unknown }[]
  entry!.usedBy = 'someone'
  expect(await keeper.current()).not.toBe(first)
})

test('a token that is about to expire is not shown again', async () => {
  const now = { value: Date.now() }
  const { keeper } = keeperAt(now)
  const first = await keeper.current()
  expect(await keeper.current()).toBe(first)
  now.value += ttlMs * 0.6
  expect(await keeper.current()).not.toBe(first)
})

test('rotating makes another token at the next read', async () => {
  const { keeper } = keeperAt({ value: Date.now() })
  const first = await keeper.current()
  keeper.rotate()
  expect(await keeper.current()).not.toBe(first)
})

test('a token of a node that left and joined the same cluster again is not shown: nobody could redeem it', async () => {
  const { cluster, keeper } = keeperAt({ value: Date.now() })
  const first = await keeper.current()
  ;(cluster.tokens() as unknown[]).splice(0)
  expect(await keeper.current()).not.toBe(first)
})
