import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { randomFrom } from '../sim/random.ts'
import { Hosts } from './hosts.ts'
import { allReady } from './questions.ts'
import {
  badUpdate,
  deployTen,
  interruptedUpdate,
  interruptions,
  parallelism,
  replicas,
} from './update-trials.ts'

/** A few of what `make soak bad-updates updates` tries many times. */
describe('an update of ten replicas, two at a time', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
  })
  beforeEach(async () => {
    await hosts.reset()
    await allReady(hosts)
  })

  // Done when, line 1.
  it('to an image that exits goes back by itself, and costs no more than the two', async () => {
    await deployTen(hosts, 'stop-first', '2s')
    const { fewest, looks, message } = await badUpdate(hosts, 'that exits')
    expect(looks).toBeGreaterThan(20)
    expect(fewest).toBeGreaterThanOrEqual(replicas - parallelism)
    expect(message).toBe('rollback completed')
  })

  it('to something that cannot start costs no replica where the next is to be there first', async () => {
    await deployTen(hosts, 'start-first', '2s')
    expect((await badUpdate(hosts, 'that cannot start')).fewest).toBe(replicas)
  })

  // Done when, line 2.
  it('ends fully new though its client, the agent that accepted it, or a host dies in the middle', async () => {
    const random = randomFrom(Date.now() % 1_000_000)
    await deployTen(hosts, 'stop-first', '2s')
    for (const what of interruptions) {
      const { wellAfterMs } = await interruptedUpdate(hosts, what, random)
      expect(wellAfterMs).toBeLessThan(60_000)
    }
  })
})
