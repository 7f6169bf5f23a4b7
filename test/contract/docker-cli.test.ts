import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ApiBed, apiBed } from '../../packages/agent/src/api/testing/api-bed.ts'
import { type CliResult, docker, dockerClients, dockerStream } from './docker-cli.ts'

test.skipIf(dockerClients.length === 0)(
  'a stock docker command is installed (skipped: none is, so nothing of it can be tried)',
  () => {
    expect(dockerClients).not.toEqual([])
  },
)

const stackFile = new URL('stack.yml', import.meta.url).pathname

describe.each(dockerClients)('$name', ({ path }) => {
  let bed: ApiBed
  beforeEach(async () => {
    bed = await apiBed()
  })
  afterEach(async () => bed.stop())

  const cli = (...args: string[]): Promise<CliResult> => docker(path, bed.socketPath, args)
  /** The output of a command that must succeed. */
  async function ok(...args: string[]): Promise<string> {
    const result = await cli(...args)
    expect(result, `docker ${args.join(' ')}`).toMatchObject({ code: 0 })
    return result.out
  }
  const create = (name: string, ...args: string[]): Promise<string> =>
    ok('service', 'create', '--detach', '--no-resolve-image', '--name', name, ...args)

  test('node ls, inspect, ps and update', async () => {
    const rows = (
      await ok(
        'node',
        'ls',
        '--format',
        '{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}} {{.Self}}',
      )
    ).trim()
    expect(rows.split('\n').sort()).toEqual([
      'host-1 Ready Active Reachable true',
      'host-2 Ready Active Reachable false',
      'host-3 Ready Active Reachable false',
    ])
    expect(await ok('node', 'inspect', 'self', '--pretty')).toMatch(/Hostname:\s+host-1[\s\S]*CPUs:\s+2/)
    await ok('node', 'update', '--availability', 'drain', '--label-add', 'zone=us', 'host-2')
    const node = JSON.parse(await ok('node', 'inspect', 'host-2')) as { Spec: unknown }[]
    expect(node[0]?.Spec).toMatchObject({ Availability: 'drain', Labels: { zone: 'us' } })
    await create('web', '--replicas', '3', 'nginx:1')
    expect(await ok('node', 'ps', 'host-3')).toMatch(/web\.3/)
    const [, second] = bed.cluster.nodes
    bed.cluster.setLiveness(second!, { kind: 'down', observers: [] })
    expect(await ok('node', 'ls')).toMatch(/host-2\s+Down\s+Drain\s+Unreachable/)
    await ok('node', 'rm', 'host-2')
    expect(await ok('node', 'ls', '-q')).not.toContain(second)
  })

  test('service create, ls, ps and inspect', async () => {
    const id = (
      await create(
        'web',
        '--replicas',
        '3',
        '--publish',
        'mode=host,target=80,published=8080',
        '--env',
        'A=1',
        'nginx:1.25',
      )
    ).trim()
    expect(id).toMatch(/^[0-9a-z]{25}$/)
    expect(await ok('service', 'ls')).toMatch(/web\s+replicated\s+3\/3\s+nginx:1\.25/)
    expect(await ok('service', 'ps', 'web')).toMatch(/web\.2\s+nginx:1\.25\s+host-2\s+Running.*8080->80\/tcp/)
    const [service] = JSON.parse(await ok('service', 'inspect', 'web')) as Record<string, unknown>[]
    expect(service).toMatchObject({
      ID: id,
      Spec: { Name: 'web', TaskTemplate: { ContainerSpec: { Env: ['A=1'] } } },
    })
    expect(await ok('service', 'inspect', '--pretty', id.slice(0, 10))).toMatch(
      /Replicas:\s+3[\s\S]*PublishMode = host/,
    )
  })

  test('a service without a name is given one', async () => {
    await ok('service', 'create', '-d', '--no-resolve-image', 'nginx:1')
    expect(await ok('service', 'ls', '--format', '{{.Name}}')).toMatch(/^[a-z]+_[a-z]+\n$/)
  })

  test('service create and update wait until all tasks run', async () => {
    const args = ['--no-resolve-image', '--update-monitor', '10ms']
    const created = await ok('service', 'create', ...args, '--name', 'web', '--replicas', '2', 'nginx:1')
    expect(created).toMatch(/2 out of 2 tasks[\s\S]*converged/)
    expect(await ok('service', 'update', ...args, '--image', 'nginx:2', 'web')).toMatch(/converged/)
    const global = await ok('service', 'create', ...args, '--name', 'each', '--mode', 'global', 'nginx:1')
    expect(global).toMatch(/3 out of 3 tasks[\s\S]*converged/)
  })

  test('service update, scale, rollback and rm', async () => {
    await create('web', '--replicas', '1', 'nginx:1')
    await ok('service', 'update', '-d', '--no-resolve-image', '--image', 'nginx:2', '--env-add', 'B=2', 'web')
    expect(await ok('service', 'ls')).toMatch(/1\/1\s+nginx:2/)
    expect(await ok('service', 'scale', '-d', 'web=4')).toMatch(/web scaled to 4/)
    expect(await ok('service', 'ls')).toMatch(/4\/4\s+nginx:2/)
    await ok('service', 'rollback', '-d', 'web')
    expect(await ok('service', 'ls')).toMatch(/1\/1\s+nginx:2/)
    await ok('service', 'rollback', '-d', 'web')
    expect(await ok('service', 'ls')).toMatch(/4\/4\s+nginx:2/)
    await ok('service', 'rollback', '-d', 'web')
    expect(await ok('service', 'ps', 'web', '--filter', 'desired-state=running', '-q')).toMatch(/^\w+\n$/)
    expect(await ok('service', 'rm', 'web')).toBe('web\n')
    expect(await ok('service', 'ls', '-q')).toBe('')
  })

  test('a service that fits nowhere shows why', async () => {
    await create('lost', '--constraint', 'node.labels.nowhere==x', 'nginx:1')
    expect(await ok('service', 'ls')).toMatch(/lost\s+replicated\s+0\/1/)
    expect(await ok('service', 'ps', '--no-trunc', 'lost')).toMatch(
      /Pending.*host-2: node\.labels\.nowhere is not x/,
    )
  })

  test('what Moot cannot do yet is told by the command', async () => {
    const ingress = await cli('service', 'create', '-d', '--name', 'a', '-p', '80:80', 'nginx')
    expect([ingress.code, ingress.err]).toEqual([1, expect.stringContaining('mode=host') as string])
    const secret = await cli('secret', 'create', 's', stackFile)
    expect([secret.code, secret.err]).toEqual([
      1,
      expect.stringContaining('Moot does not keep secrets') as string,
    ])
    expect(await ok('secret', 'ls', '-q')).toBe('')
    expect(await ok('config', 'ls', '-q')).toBe('')
  })

  test('stack deploy, ls, services, ps and rm of six services', async () => {
    const deploy = await ok('stack', 'deploy', '--resolve-image', 'never', '-c', stackFile, 'shop')
    expect(deploy.match(/Creating service shop_/g)).toHaveLength(6)
    const again = await ok('stack', 'deploy', '--resolve-image', 'never', '-c', stackFile, 'shop')
    expect(again.match(/Updating service shop_/g)).toHaveLength(6)
    expect(await ok('stack', 'ls')).toMatch(/shop\s+6/)
    const services = await ok('stack', 'services', '--format', '{{.Name}} {{.Mode}} {{.Replicas}}', 'shop')
    expect(services.trim().split('\n').sort()).toEqual([
      'shop_agent global 3/3',
      'shop_api replicated 2/2',
      'shop_cache replicated 1/1',
      'shop_db replicated 1/1',
      'shop_pending replicated 0/1',
      'shop_web replicated 3/3',
    ])
    const tasks = await ok('stack', 'ps', '--format', '{{.Name}}', 'shop')
    expect(tasks.trim().split('\n')).toHaveLength(11)
    const networks = await ok('network', 'ls', '--format', '{{.Name}} {{.Driver}} {{.Scope}}')
    expect(networks.trim().split('\n').sort()).toEqual([
      'bridge bridge local',
      'shop_back overlay swarm',
      'shop_default overlay swarm',
      'shop_front overlay swarm',
    ])
    expect(await ok('service', 'inspect', '--pretty', 'shop_web')).toMatch(/Networks: shop_front/)
    await ok('stack', 'rm', 'shop')
    expect(await ok('service', 'ls', '-q')).toBe('')
    expect(await ok('network', 'ls', '--filter', 'scope=swarm', '-q')).toBe('')
  })

  test('a redeployed stack that did not change restarts nothing', async () => {
    await ok('stack', 'deploy', '--resolve-image', 'never', '-c', stackFile, 'shop')
    const before = bed.cluster.tasks().map(({ task }) => task.id)
    await ok('stack', 'deploy', '--resolve-image', 'never', '-c', stackFile, 'shop')
    expect(bed.cluster.tasks().map(({ task }) => task.id)).toEqual(before)
  })

  test('info shows the cluster and this node’s engine', async () => {
    const info = await ok('info')
    expect(info).toMatch(/Swarm: active/)
    expect(info).toMatch(/Managers: 3\n\s+Nodes: 3/)
    expect(info).toMatch(/Server Version: 20\.10\.24/)
    expect(await ok('info', '--format', '{{.Swarm.NodeID}} {{.Swarm.ControlAvailable}}')).toBe(
      `${bed.cluster.self} true\n`,
    )
    expect(await ok('version')).toMatch(/Engine:?[\s\S]*Moot:?\s+Version:\s+0\.1\.0/)
    await bed.engine.stop()
    expect(await ok('info', '--format', '{{.Swarm.LocalNodeState}}')).toBe('active\n')
  })

  test('network create, inspect and rm', async () => {
    const id = (
      await ok('network', 'create', '--driver', 'overlay', '--subnet', '10.7.0.0/24', '--attachable', 'lan')
    ).trim()
    const [network] = JSON.parse(await ok('network', 'inspect', 'lan')) as Record<string, unknown>[]
    expect(network).toMatchObject({
      Id: id,
      Driver: 'overlay',
      Scope: 'swarm',
      Attachable: true,
      IPAM: { Config: [{ Subnet: '10.7.0.0/24' }] },
    })
    await create('web', '--network', 'lan', 'nginx:1')
    const busy = await cli('network', 'rm', 'lan')
    expect([busy.code, busy.err]).toEqual([1, expect.stringContaining('in use by service') as string])
    await create('onhost', '--network', 'host', 'nginx:1')
    await ok('service', 'rm', 'web')
    expect(await ok('network', 'rm', 'lan')).toBe('lan\n')
  })

  test('service logs of all tasks, and of those that come later', async () => {
    await create('web', '--replicas', '2', 'nginx:1')
    const lines = (await ok('service', 'logs', 'web')).trim().split('\n').sort()
    expect(lines).toEqual([
      expect.stringMatching(/^web\.1\.\w+@host-1\s+\| hello from \w+$/) as string,
      expect.stringMatching(/^web\.2\.\w+@host-2\s+\| hello from \w+$/) as string,
    ])
    const follow = dockerStream(path, bed.socketPath, ['service', 'logs', '-f', 'web'])
    await follow.until(/web\.2\.\w+@host-2\s+\| hello/)
    await ok('service', 'scale', '-d', 'web=3')
    await follow.until(/web\.3\.\w+@host-\d\s+\| hello/)
    await follow.stop()
    expect(follow.text()).not.toMatch(/error/i)
    const [first] = bed.cluster.tasks()
    expect(await ok('service', 'logs', '--raw', first!.task.id)).toBe(`hello from ${first!.task.id}\n`)
  })

  test('events tell what happens in the cluster', async () => {
    const since = String(Math.floor(Date.now() / 1000) - 5)
    const events = dockerStream(path, bed.socketPath, ['events', '--since', since])
    await create('web', '--replicas', '1', 'nginx:1')
    await events.until(/service create \w+ \(name=web\)/)
    await ok('service', 'scale', '-d', 'web=3')
    await events.until(/service update \w+ \(name=web, replicas\.new=3, replicas\.old=1\)/)
    await ok('node', 'update', '--availability', 'drain', 'host-2')
    await events.until(/node update \w+ \(availability\.new=drain, availability\.old=active, name=host-2\)/)
    bed.cluster.setLiveness(bed.cluster.nodes[2]!, { kind: 'down', observers: [] })
    await events.until(/node update \w+ \(name=host-3, state\.new=down, state\.old=ready\)/)
    await ok('network', 'create', '-d', 'overlay', 'lan')
    await events.until(/network create \w+ \(name=lan\)/)
    await ok('service', 'rm', 'web')
    await events.until(/service remove \w+ \(name=web\)/)
    await events.stop()
    const past = await ok(
      'events',
      '--since',
      since,
      '--until',
      String(Math.floor(Date.now() / 1000) + 1),
      '--filter',
      'type=service',
      '--filter',
      'event=remove',
    )
    expect(past).toMatch(/^\S+ service remove \w+ \(name=web\)\n$/)
  })

  test('swarm init, join-token and leave', async () => {
    await ok('swarm', 'leave', '--force')
    expect(await ok('info', '--format', '{{.Swarm.LocalNodeState}}')).toBe('inactive\n')
    const refused = await cli('service', 'ls')
    expect([refused.code, refused.err]).toEqual([
      1,
      expect.stringContaining('This node is not a swarm manager') as string,
    ])
    const init = await ok('swarm', 'init')
    const [token] = /MOOT-1-\S+/.exec(init) ?? []
    expect(init).toMatch(/docker swarm join --token MOOT-1-\S+ 10\.99\.0\.1:7420/)
    expect(await ok('swarm', 'join-token', '-q', 'worker')).toBe(`${token}\n`)
    expect(await ok('swarm', 'join-token', '-q', 'manager')).toBe(`${token}\n`)
    const rotated = await ok('swarm', 'join-token', '-q', '--rotate', 'worker')
    expect(rotated).not.toBe(`${token}\n`)
    await ok('swarm', 'update', '--task-history-limit', '3')
    expect(await ok('info')).toMatch(/Task History Retention Limit: 3/)
    const raft = await cli('swarm', 'update', '--snapshot-interval', '7')
    expect([raft.code, raft.err]).toEqual([1, expect.stringContaining('no swarm setting "Raft"') as string])
    const twice = await cli('swarm', 'init')
    expect([twice.code, twice.err]).toEqual([1, expect.stringContaining('already part of a swarm') as string])
    await ok('swarm', 'leave', '--force')
    expect(await ok('swarm', 'join', '--token', token!, '10.99.0.1:7420')).toMatch(/This node joined a swarm/)
    await ok('swarm', 'leave', '--force')
    const foreign = await cli('swarm', 'join', '--token', 'SWMTKN-1-a-b', '10.99.0.1:2377')
    expect([foreign.code, foreign.err]).toEqual([
      1,
      expect.stringContaining('token of Docker Swarm') as string,
    ])
  })
})
