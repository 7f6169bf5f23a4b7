import { beforeAll, describe, expect, it } from 'vitest'
import { Hosts } from './hosts.ts'
import { allReady, containersOf, services } from './questions.ts'

const stack = `
version: "3.8"
services:
  front:
    image: moot/test:1
    stop_grace_period: 1s
    deploy: { replicas: 3, update_config: { parallelism: 1 } }
  back:
    image: moot/test:2
    stop_grace_period: 1s
    deploy:
      replicas: 2
      resources:
        limits: { cpus: "0.5", memory: 64M }
        reservations: { memory: 16M }
  everywhere:
    image: moot/test:1
    stop_grace_period: 1s
    deploy: { mode: global }
  keeper:
    image: moot/test:1
    stop_grace_period: 1s
    volumes: [ "data:/data" ]
    deploy: { replicas: 1 }
  pinned:
    image: moot/test:1
    stop_grace_period: 1s
    deploy:
      replicas: 2
      placement: { constraints: [ "node.labels.zone == north" ] }
  open:
    image: moot/test:1
    stop_grace_period: 1s
    ports: [ { target: 80, published: 18080, mode: host } ]
    deploy: { replicas: 5 }
volumes:
  data: {}
`

describe('a stack on five hosts', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
    await hosts.reset()
    await allReady(hosts)
  })

  it('docker stack deploy of six services against host 2 runs them across the five, and every host shows the same', async () => {
    for (const index of [3, 4]) {
      await hosts.host(1).docker('node', 'update', '--label-add', 'zone=north', hosts.host(index).name)
    }
    await hosts.host(2).dockerWithInput(stack, 'stack', 'deploy', '-c', '-', 'shop')
    // Every host shows the six within a second of the command's end.
    await hosts.waitFor(
      'every host lists the six services',
      async () => (await Promise.all(hosts.all().map(services))).every((list) => list.length === 6),
      { timeoutMs: 1_000 },
    )
    await hosts.waitFor('all 18 tasks run', async () => (await hosts.runningContainers()).length === 18)
    await hosts.waitFor(
      'every host shows the same rows',
      async () => {
        const rows = await Promise.all(hosts.all().map((host) => host.docker('service', 'ls')))
        return rows.every((each) => each === rows[0]) && !/ 0\/| [12]\/[35]/.test(rows[0] ?? '') && rows[0]
      },
      { timeoutMs: 1_000 },
    )
    const perHost = async (name: string): Promise<number[]> =>
      (await containersOf(hosts, `shop_${name}`)).map((container) => container.host).toSorted((a, b) => a - b)
    expect(await perHost('everywhere')).toEqual([1, 2, 3, 4, 5])
    expect(await perHost('open')).toEqual([1, 2, 3, 4, 5])
    expect(await perHost('pinned')).toEqual([3, 4])
    expect(new Set(await perHost('front')).size).toBe(3)
  })

  it('its web servers answer on the hosts where they are published', async () => {
    for (const host of hosts.all()) {
      expect(await host.inside('curl', '-sS', '-f', `http://${host.address}:18080/`)).toContain('v1')
    }
  })

  it('docker stack ls, ps, services and rm work against any other host', async () => {
    expect(await hosts.host(5).docker('stack', 'ls')).toMatch(/shop\s+6/)
    expect(await hosts.host(4).docker('stack', 'services', 'shop')).toContain('shop_front')
    expect((await hosts.host(1).docker('stack', 'ps', '-q', 'shop')).trim().split('\n')).toHaveLength(18)
    await hosts.host(3).docker('stack', 'rm', 'shop')
    await hosts.waitFor(
      'nothing of the stack runs',
      async () => (await hosts.runningContainers()).length === 0,
    )
    await hosts.waitFor('no host lists it', async () =>
      (await Promise.all(hosts.all().map(services))).every((list) => list.length === 0),
    )
  })
})
