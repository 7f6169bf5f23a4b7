import type { ContainerId } from '@moot/crdt-state'
import { describe, expect, test } from 'vitest'
import { FreshVolumes } from './fresh-volumes.ts'

const one = 'one' as ContainerId
const two = 'two' as ContainerId
const answer = (container: ContainerId) => (): Promise<ContainerId> => Promise.resolve(container)

describe('a volume is fresh', () => {
  test('from before its container is made until one that uses it has started', async () => {
    const fresh = new FreshVolumes()
    const { promise, resolve } = Promise.withResolvers<ContainerId>()
    const making = fresh.during(['data'], ['data'], () => promise)
    expect(fresh.has('data')).toBe(true)
    resolve(one)
    await making
    await fresh.during(['data'], [], answer(two))
    fresh.started(two)
    expect(fresh.has('data')).toBe(false)
  })

  test('not where one has run before the answer to the other’s create', async () => {
    const fresh = new FreshVolumes()
    const { promise, resolve } = Promise.withResolvers<ContainerId>()
    const late = fresh.during(['data'], ['data'], () => promise)
    await fresh.during(['data'], ['data'], answer(one))
    fresh.started(one)
    resolve(two)
    await late
    expect(fresh.has('data')).toBe(false)
  })

  test('also when its container is gone, or was refused after all, until it is gone itself', async () => {
    const fresh = new FreshVolumes()
    await fresh.during(['data'], ['data'], answer(one))
    fresh.removed(one)
    await expect(
      fresh.during(['logs'], ['logs'], () => Promise.reject(new Error('no space left on device'))),
    ).rejects.toThrow('no space')
    fresh.listed(new Set(['data', 'logs']))
    expect([fresh.has('data'), fresh.has('logs')]).toEqual([true, true])
    fresh.listed(new Set(['data']))
    expect([fresh.has('data'), fresh.has('logs')]).toEqual([true, false])
    fresh.destroyed('data')
    expect(fresh.has('data')).toBe(false)
  })

  test('until a person’s container is about to run with it, not until its own is', async () => {
    const fresh = new FreshVolumes()
    await fresh.during(['data'], ['data'], answer(one))
    fresh.mounted('data', one)
    expect(fresh.has('data')).toBe(true)
    fresh.mounted('data', 'a person’s')
    expect(fresh.has('data')).toBe(false)
  })
})
