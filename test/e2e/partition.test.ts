import { beforeAll, describe, expect, it } from 'vitest'
import { Hosts } from './hosts.ts'
import { allReady, containersOf, createService, service, untilRuns } from './questions.ts'

interface ConflictRow {
  readonly name: string
  readonly path: string
  readonly winner: unknown
  readonly losers: readonly { readonly value: unknown }[]
}

describe('a partition of two against three', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
    await hosts.reset()
    await allReady(hosts)
  })

  const seenDown = (index: number, count: number): Promise<unknown> =>
    hosts.waitFor(`host ${index} sees ${count} nodes down`, async () => {
      const nodes = await hosts.host(index).api<{ Status: { State: string } }[]>('GET', '/nodes')
      return nodes.filter((node) => node.Status.State === 'down').length === count
    })

  // Done when, line 6.
  it('a scale on one side and an image on the other both hold after healing', async () => {
    await createService(hosts.host(1), 'web', '--replicas', '4', '--update-parallelism', '0')
    await untilRuns(hosts, 'web', 4)
    await hosts.partition([
      [1, 2],
      [3, 4, 5],
    ])
    await Promise.all([seenDown(1, 3), seenDown(4, 2)])
    await hosts.host(1).docker('service', 'scale', '--detach', 'web=6')
    await hosts
      .host(4)
      .docker('service', 'update', '--detach', '--no-resolve-image', '--image', 'moot/test:2', 'web')
    await hosts.heal()
    await allReady(hosts)
    await hosts.waitFor('both edits hold on every host', async () => {
      const seen = await Promise.all(hosts.all().map((host) => service(host, 'web')))
      return seen.every(
        ({ Spec }) =>
          Spec.Mode.Replicated?.Replicas === 6 && Spec.TaskTemplate.ContainerSpec.Image === 'moot/test:2',
      )
    })
    await hosts.waitFor(
      'exactly six containers run the new image, none twice',
      async () => {
        const running = await containersOf(hosts, 'web')
        const slots = new Set(running.map((container) => container.Labels['moot.slot']))
        return (
          running.length === 6 &&
          slots.size === 6 &&
          running.every((container) => container.Image === 'moot/test:2')
        )
      },
      { timeoutMs: 60_000 },
    )
    expect(await hosts.host(3).api<ConflictRow[]>('GET', '/moot/v1/conflicts')).toEqual([])
  })

  it('one field changed on both sides converges to one value on all five, and the conflict is shown', async () => {
    await hosts.partition([
      [1, 2],
      [3, 4, 5],
    ])
    await Promise.all([seenDown(1, 3), seenDown(4, 2)])
    await hosts.host(2).docker('service', 'scale', '--detach', 'web=3')
    await hosts.host(5).docker('service', 'scale', '--detach', 'web=5')
    await hosts.heal()
    await allReady(hosts)
    const value = await hosts.waitFor('all hosts have one value and show the conflict', async () => {
      const seen = await Promise.all(
        hosts.all().map(async (host) => ({
          replicas: (await service(host, 'web')).Spec.Mode.Replicated?.Replicas,
          conflicts: (await host.api<ConflictRow[]>('GET', '/moot/v1/conflicts')).filter(
            ({ name }) => name === 'web',
          ),
        })),
      )
      const first = JSON.stringify(seen[0])
      return seen.every((each) => JSON.stringify(each) === first && each.conflicts.length === 1) && seen[0]
    })
    expect([3, 5]).toContain(value.replicas)
    expect(value.conflicts[0]).toMatchObject({ path: '/Mode/Replicated/Replicas', winner: value.replicas })
    expect(value.conflicts[0]?.losers.map((loser) => loser.value)).toEqual([value.replicas === 3 ? 5 : 3])
    await untilRuns(hosts, 'web', value.replicas ?? 0)
    await hosts.host(1).docker('service', 'scale', '--detach', 'web=2')
    await hosts.waitFor('writing the field again settles it', async () => {
      const lists = await Promise.all(
        hosts.all().map((host) => host.api<ConflictRow[]>('GET', '/moot/v1/conflicts')),
      )
      return lists.every((list) => list.length === 0)
    })
    await untilRuns(hosts, 'web', 2)
  })
})
