import { beforeAll, describe, expect, it } from 'vitest'
import { deployShop, pull } from '../soak/cable.ts'
import { Hosts } from './hosts.ts'
import { allReady, createService, untilRuns } from './questions.ts'
import { stalled, stopped } from './stalls.ts'
import { watched } from './watching.ts'

/** One turn of each; `make soak` gives every host its turns, longer, and starves the cores. */
describe('hosts and agents that are away for a while', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
    await hosts.reset()
    await allReady(hosts)
  })

  it('a host whose cable is pulled starts nothing new and obeys its user, the others replace its tasks, and once it is plugged in exactly what is wanted runs', async () => {
    await deployShop(hosts)
    const { had, wrong } = await pull(hosts, 3, { cutForMs: 8_000, deployAfterMs: 3_000 })
    expect(wrong).toEqual([])
    expect(had).toBeGreaterThan(0)
    await hosts.host(3).docker('stack', 'rm', 'shop')
    // What stops now would count as touched by what comes next.
    await untilRuns(hosts, 'shop_web', 0)
  })

  it('an agent that is stopped for 3 s and one whose main loop stands still for 2 s lose nothing', async () => {
    await createService(hosts.host(1), 'web', '--replicas', '5')
    await untilRuns(hosts, 'web', 5)
    const seen = await watched(hosts, async () => {
      await Promise.all([stopped(hosts, 2, 3_000), stalled(hosts.host(4), 2_000)])
    })
    expect(seen.looks).toBeGreaterThan(0)
    expect(seen.verdicts.filter(({ kind }) => kind === 'down')).toEqual([])
    expect(seen.touched).toEqual([])
  })
})
