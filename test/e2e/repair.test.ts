import { join } from 'node:path'
import { resourceId } from '@moot/crdt-state'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Hosts, type TestHost } from './hosts.ts'
import { allReady, containersOf, createService, service, services, tasks, untilRuns } from './questions.ts'
import { flipInFile, flipInObject, foldLog, logBytes, storePath } from './stored-objects.ts'

/** Anti-entropy asks one random peer every 3 s: five hosts are alike after a few rounds. */
const convergenceBoundMs = 45_000

interface Status {
  readonly state: { readonly kind: string; readonly clusterId?: string }
  readonly nodeId: string
  readonly synced?: boolean
  readonly damage: readonly { readonly what: string; readonly setAsideAs: string; readonly healed: boolean }[]
  readonly replication?: Readonly<Record<string, number>>
}

const status = (host: TestHost): Promise<Status> => host.api<Status>('GET', '/moot/v1/status')

interface Versioned {
  readonly ID?: string
  readonly Id?: string
  readonly Version?: { readonly Index: number }
  readonly Spec?: unknown
}

/** What must be the same on every host, and before and after: specs with their versions, and the tasks that run. */
async function known(host: TestHost): Promise<string> {
  const [cluster, serviceList, nodeList, networkList] = await Promise.all([
    host.api<Versioned>('GET', '/swarm'),
    services(host),
    host.api<Versioned[]>('GET', '/nodes'),
    host.api<(Versioned & { Scope: string })[]>('GET', '/networks'),
  ])
  const running = await Promise.all(
    serviceList.map(async ({ Spec }) =>
      (await tasks(host, Spec.Name))
        .filter((task) => task.Status.State === 'running')
        .map(({ ID, NodeID, Slot }) => ({ ID, NodeID, Slot }))
        .toSorted((a, b) => (a.ID < b.ID ? -1 : 1)),
    ),
  )
  const specs = (list: readonly Versioned[]): object[] =>
    list
      .map(({ ID, Id, Version, Spec }) => ({ id: ID ?? Id ?? '', Version, Spec }))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
  return JSON.stringify({
    cluster: cluster.ID,
    services: specs(serviceList),
    nodes: specs(nodeList),
    networks: networkList
      .filter(({ Scope }) => Scope === 'swarm')
      .map(({ Id }) => Id ?? '')
      .toSorted((a, b) => (a < b ? -1 : 1)),
    running,
  })
}

async function restartAll(hosts: Hosts, env: Readonly<Record<string, string>>): Promise<void> {
  await hosts.agentKill(1, 2, 3, 4, 5)
  await Hosts.up(5, { agent: { env } })
}

describe('with gossip switched off', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
    await hosts.reset()
    await restartAll(hosts, { MOOT_GOSSIP: 'off' })
    await allReady(hosts)
  })
  afterAll(async () => {
    await restartAll(hosts, {})
    await allReady(hosts)
  })

  // Done when, line 11.
  it('anti-entropy alone makes a creation and a scale known to all five hosts, which run it', async () => {
    await createService(hosts.host(1), 'web', '--replicas', '3')
    await untilRuns(hosts, 'web', 3, convergenceBoundMs)
    await hosts.waitFor('host 4 has heard of it', async () =>
      (await services(hosts.host(4))).some(({ Spec }) => Spec.Name === 'web'),
    )
    await hosts.host(4).docker('service', 'scale', '--detach', 'web=7')
    await untilRuns(hosts, 'web', 7, convergenceBoundMs)
    await hosts.waitFor('all five say the same', () => allAlike(hosts), { timeoutMs: convergenceBoundMs })
    expect((await service(hosts.host(2), 'web')).Spec.Mode.Replicated?.Replicas).toBe(7)
  })

  it('anti-entropy alone tells all five hosts that a task has ended and another runs in its place', async () => {
    const [victim] = await containersOf(hosts, 'web')
    if (victim === undefined) throw new Error('nothing runs')
    const ended = victim.Labels['com.docker.swarm.task.id']
    await hosts.host(victim.host).engine('kill', victim.Id)
    await untilRuns(hosts, 'web', 7)
    await hosts.waitFor(
      'all five know that the task has ended',
      async () => {
        const seen = await Promise.all(hosts.all().map((host) => tasks(host, 'web')))
        return seen.every((list) => list.find(({ ID }) => ID === ended)?.Status.State === 'failed')
      },
      { timeoutMs: convergenceBoundMs },
    )
    await hosts.waitFor('all five say the same', () => allAlike(hosts), { timeoutMs: convergenceBoundMs })
    expect(await containersOf(hosts, 'web')).toHaveLength(7)
  })

  it('nothing at all was gossiped', async () => {
    for (const host of hosts.all()) {
      expect((await status(host)).replication).toMatchObject({
        gossipIn: 0,
        specsApplied: expect.any(Number),
      })
    }
  })
})

async function allAlike(hosts: Hosts): Promise<boolean> {
  const seen = await Promise.all(hosts.all().map(known))
  return seen.every((each) => each === seen[0])
}

interface Flip {
  readonly what: string
  /** Damages the stopped agent's disk; gives the name under which the damage must be told. */
  readonly flip: (host: TestHost) => string
  /** Where no peer has what was lost. */
  readonly staysLost?: boolean
}

describe('a byte flipped on the disk', () => {
  let hosts: Hosts
  let before: string
  let containers: readonly string[]
  const ids = { web: '', lan: '', nodes: new Map<number, string>() }

  beforeAll(async () => {
    hosts = await Hosts.up(5)
    await hosts.reset()
    await allReady(hosts)
    const first = hosts.host(1)
    await first.docker('network', 'create', '--driver', 'overlay', 'lan')
    await createService(first, 'gone', '--replicas', '1')
    await untilRuns(hosts, 'gone', 1)
    await first.docker('service', 'rm', 'gone')
    await createService(first, 'web', '--replicas', '10', '--network', 'lan')
    await untilRuns(hosts, 'web', 10)
    await hosts.waitFor('all five say the same', () => allAlike(hosts))
    before = await known(first)
    containers = await containerIds()
    ids.web = (await service(first, 'web')).ID
    const networks = await first.api<{ Id: string; Name: string }[]>('GET', '/networks')
    ids.lan = networks.find(({ Name }) => Name === 'lan')?.Id ?? ''
    for (const host of hosts.all()) ids.nodes.set(host.index, (await status(host)).nodeId)
  })

  const containerIds = async (): Promise<string[]> =>
    (await hosts.runningContainers()).map(({ Id }) => Id).toSorted()

  const object =
    (table: string, key: string | ((host: TestHost) => string)) =>
    (host: TestHost): string =>
      `${table} ${flipInObject(host, table, typeof key === 'string' ? key : key(host))}`
  const nodeDocument = (index: number): string => resourceId('node', ids.nodes.get(index) ?? '', 1)
  const file = (name: string) => (host: TestHost) => {
    flipInFile(join(host.directory, 'agent', name), () => 5)
    return `file ${name}`
  }
  const database = (at: (length: number) => number) => (host: TestHost) => {
    foldLog(host)
    flipInFile(storePath(host), at)
    return 'database'
  }

  // Done when, line 11: each kind of stored object. Several at once where each is told of by itself: a restart takes seconds.
  const trials: readonly (readonly Flip[])[] = [
    [
      { what: 'a service', flip: object('document', () => ids.web) },
      { what: 'a network', flip: object('document', () => ids.lan) },
      { what: 'a removal', flip: object('tombstone', '%gone%') },
    ],
    [
      { what: 'the cluster', flip: object('document', resourceId('cluster', 'cluster', 1)) },
      { what: "a peer's node", flip: object('document', (host) => nodeDocument((host.index % 5) + 1)) },
      { what: 'the boot epoch', flip: object('meta', 'own-epoch') },
    ],
    [
      { what: 'the own node', flip: object('document', (host) => nodeDocument(host.index)) },
      { what: 'a claim', flip: object('own-record', 'entry/task/%') },
      { what: "a peer's record", flip: object('peer-record', '%') },
    ],
    [
      { what: "the own record's status", flip: object('own-record', 'entry/status') },
      { what: 'which cluster this is', flip: object('meta', 'membership') },
    ],
    [
      { what: "the own record's version", flip: object('own-record', 'version') },
      { what: 'a removed service that could be restored', flip: object('graveyard', '%'), staysLost: true },
    ],
    [{ what: "the node's key", flip: file('node.key') }],
    [{ what: 'the note of the membership', flip: file('membership') }],
    [{ what: "the database's header", flip: database(() => 3) }],
    [{ what: "the database's schema", flip: database(() => 100) }],
    // The kind of a b-tree page is its first byte; page 2 is the root of the objects.
    [{ what: 'a page of the database', flip: database(() => 4_096) }],
    [
      {
        what: "the database's log",
        flip(host) {
          expect(logBytes(host)).toBeGreaterThan(4_096)
          flipInFile(`${storePath(host)}-wal`, () => 2_000)
          return 'database'
        },
      },
    ],
  ]

  it.each(
    trials.map((flips, index) => ({
      flips,
      what: flips.map(({ what }) => what).join(', '),
      index: (index % 5) + 1,
    })),
  )('$what (host $index): told, set aside, healed by peers, and no container notices', async (trial) => {
    const { flips, index } = trial
    const host = hosts.host(index)
    const was = await status(host)
    await hosts.agentKill(index)
    const damaged = flips.map(({ flip, staysLost }) => ({ what: flip(host), heals: staysLost !== true }))
    await hosts.agentStart(index)
    for (const { what, heals } of damaged) {
      const found = await hosts.waitFor(`${what} is told as damaged and healed`, async () => {
        const damage = (await status(host)).damage.find((each) => each.what === what)
        if (damage === undefined) throw new Error(JSON.stringify((await status(host)).damage))
        return damage.healed === heals && damage
      })
      expect(found.setAsideAs).toMatch(/set_aside\/\d+|damaged/)
    }
    await allReady(hosts)
    await hosts.waitFor('all five say what they said before', async () => {
      const seen = await Promise.all(hosts.all().map(known))
      const other = seen.find((each) => each !== before)
      if (other !== undefined) throw new Error(`${other}\ninstead of\n${before}`)
      return true
    })
    // Before that it touches nothing; what it would do wrong, it does then.
    await hosts.waitFor('it has heard every peer', async () => (await status(host)).synced)
    expect(await status(host)).toMatchObject({ state: was.state, nodeId: was.nodeId })
    expect(await containerIds()).toEqual(containers)
  })

  it('a token: told, no longer taken, and a new one can be made', async () => {
    const host = hosts.host(2)
    await host.api('POST', '/moot/v1/tokens', {})
    await hosts.agentKill(2)
    const what = object('token', '%')(host)
    await hosts.agentStart(2)
    expect((await status(host)).damage).toEqual([
      { what, setAsideAs: expect.stringMatching(/^set_aside/), healed: false },
    ])
    const left = await host.api<{ id: string }[]>('GET', '/moot/v1/tokens')
    expect(left.map(({ id }) => `token ${id}`)).not.toContain(what)
    await host.api('POST', '/moot/v1/tokens', {})
    await allReady(hosts)
    expect(await containerIds()).toEqual(containers)
  })
})
