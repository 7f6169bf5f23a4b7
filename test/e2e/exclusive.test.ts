import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { beatsOf, clearBeats, cutTheHolder, deployExclusive, judge } from './exclusive-trials.ts'
import { Hosts } from './hosts.ts'
import { allReady } from './questions.ts'

describe('a service labelled moot.partition=exclusive', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
    await hosts.reset()
    await allReady(hosts)
    await deployExclusive(hosts)
  })
  afterAll(async () => {
    // What still runs would write more.
    await hosts.reset()
    clearBeats(hosts)
  })

  it('never runs twice: cut off with its agent stopped it is killed by the watchdog, and runs on the other side', async () => {
    const { goneAfterMs, wrong } = await cutTheHolder(hosts, 'cable pulled, agent stopped', 1)
    expect(wrong).toEqual([])
    expect(goneAfterMs).toBeLessThan(11_500)
    await allReady(hosts)
    expect(judge(beatsOf(hosts))).toEqual([])
  })
})
