import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import type { TaskId } from '@moot/crdt-state'
import Docker from 'dockerode'
import type { Liveness } from '../../packages/agent/src/core/membership/liveness.ts'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type ApiBed, apiBed } from '../../packages/agent/src/api/testing/api-bed.ts'

let bed: ApiBed
beforeEach(async () => {
  bed = await apiBed()
})
afterEach(async () => bed.stop())

// oxlint-disable-next-line typescript/no-explicit-any -- answers are read as a client without types reads them
type Any = any

const web = (change: object = {}, template: object = {}): Any => ({
  Name: 'web',
  Labels: { tier: 'front' },
  TaskTemplate: { ContainerSpec: { Image: 'nginx:1' }, ...template },
  Mode: { Replicated: { Replicas: 2 } },
  ...change,
})
async function create(spec: Any): Promise<string> {
  const answer = await bed.call('POST', '/v1.41/services/create', spec)
  expect(answer).toMatchObject({ status: 201 })
  return (answer.body as Any).ID as string
}
async function get(path: string): Promise<Any> {
  const answer = await bed.call('GET', path)
  expect(answer).toMatchObject({ status: 200 })
  return answer.body
}
const filtered = (path: string, filters: object): Promise<Any[]> =>
  get(`${path}?filters=${encodeURIComponent(JSON.stringify(filters))}`)

test('ping tells the version that the engine and Moot both speak, and the cluster', async () => {
  for (const method of ['GET', 'HEAD']) {
    const answer = await bed.call(method, '/_ping')
    expect([answer.status, answer.headers]).toEqual([
      200,
      expect.objectContaining({ 'api-version': '1.41', ostype: 'linux', swarm: 'active/manager' }) as unknown,
    ])
  }
  await bed.cluster.leave({ force: true, author: { node: '', client: '', atMs: 0 } })
  expect((await bed.call('GET', '/v1.41/_ping')).headers['swarm']).toBe('inactive')
})

test('a service has every field that clients read', async () => {
  const id = await create(
    web({
      EndpointSpec: { Mode: 'vip', Ports: [{ TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' }] },
    }),
  )
  const service = await get(`/services/${id}`)
  const port = { Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' }
  expect(service).toEqual({
    ID: id,
    Version: { Index: expect.any(Number) as number },
    CreatedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/) as string,
    UpdatedAt: expect.stringMatching(/Z$/) as string,
    Spec: { ...web(), EndpointSpec: { Mode: 'vip', Ports: [port] } },
    Endpoint: { Spec: { Mode: 'vip', Ports: [port] }, Ports: [port] },
  })
})

test('insertDefaults fills in what was left out, except a restart delay that was never given', async () => {
  const id = await create(web())
  const { Spec } = await get(`/services/${id}?insertDefaults=true`)
  expect(Spec.TaskTemplate).toMatchObject({
    ContainerSpec: { StopGracePeriod: 10_000_000_000, DNSConfig: {}, Isolation: 'default' },
    Resources: { Limits: {}, Reservations: {} },
    RestartPolicy: { Condition: 'any', MaxAttempts: 0 },
    Placement: {},
    ForceUpdate: 0,
  })
  expect(Spec.TaskTemplate.RestartPolicy).not.toHaveProperty('Delay')
  expect(Spec.UpdateConfig).toEqual({
    Parallelism: 1,
    FailureAction: 'pause',
    Monitor: 5_000_000_000,
    MaxFailureRatio: 0,
    Order: 'stop-first',
  })
  expect(Spec.EndpointSpec).toEqual({ Mode: 'vip' })
  expect((await get(`/services/${id}?insertDefaults=false`)).Spec).not.toHaveProperty('UpdateConfig')
})

test('an absent mode and an absent count are one replica', async () => {
  for (const Mode of [undefined, {}, { Replicated: {} }]) {
    const id = await create(web({ Name: `a${JSON.stringify(Mode)?.length ?? 0}`, Mode }))
    expect((await get(`/services/${id}`)).Spec.Mode).toEqual({ Replicated: { Replicas: 1 } })
  }
})

test('an update shows what was before, a rollback swaps the two, and another swaps them back', async () => {
  const id = await create(web())
  const first = await get(`/services/${id}`)
  await bed.call('POST', `/services/${id}/update?version=${first.Version.Index}`, web({}, { ForceUpdate: 1 }))
  const second = await get(`/services/${id}`)
  expect(second.PreviousSpec).toEqual(first.Spec)
  expect(second.Version.Index).toBeGreaterThan(first.Version.Index)
  const rollback = await bed.call(
    'POST',
    `/services/web/update?version=${second.Version.Index}&rollback=previous`,
    {},
  )
  expect([rollback.status, rollback.body]).toEqual([200, { Warnings: null }])
  const third = await get(`/services/${id}`)
  expect(third.Spec).toEqual(first.Spec)
  expect(third.PreviousSpec).toEqual(second.Spec)
  await bed.call('POST', `/services/${id}/update?version=${third.Version.Index}&rollback=previous`, {})
  expect((await get(`/services/${id}`)).Spec).toEqual(second.Spec)
})

test('the source of a mount may have placeholders', async () => {
  const Mounts = [{ Type: 'volume', Source: 'data-{{.Task.Slot}}', Target: '/data' }]
  const id = await create(web({}, { ContainerSpec: { Image: 'nginx:1', Mounts } }))
  expect((await get(`/services/${id}`)).Spec.TaskTemplate.ContainerSpec.Mounts).toEqual(Mounts)
})

test('services are filtered by id, name, label and mode', async () => {
  const one = await create(web())
  const two = await create(web({ Name: 'worker', Labels: { tier: 'back' }, Mode: { Global: {} } }))
  const ids = async (filters: object): Promise<string[]> =>
    (await filtered('/services', filters)).map(({ ID }) => ID as string)
  expect(await ids({})).toEqual([one, two])
  expect(await ids({ id: [one.slice(0, 8)] })).toEqual([one])
  expect(await ids({ name: ['w'] })).toEqual([one, two])
  expect(await ids({ name: { work: true } })).toEqual([two])
  expect(await ids({ label: ['tier=back'] })).toEqual([two])
  expect(await ids({ label: ['tier'] })).toEqual([one, two])
  expect(await ids({ mode: ['global'] })).toEqual([two])
  expect(await ids({ mode: ['replicated-job'] })).toEqual([])
  const [shown] = await get('/services?status=true')
  expect(shown.ServiceStatus).toEqual({ RunningTasks: 2, DesiredTasks: 2, CompletedTasks: 0 })
  expect((await get('/services'))[0]).not.toHaveProperty('ServiceStatus')
})

test('a task has every field that clients read', async () => {
  const network = (await bed.call('POST', '/networks/create', { Name: 'lan', Driver: 'overlay' })).body as Any
  expect(network.Warning).toMatch(/reaches one node for now/)
  const id = await create(
    web(
      { EndpointSpec: { Ports: [{ Name: 'http', TargetPort: 80, PublishMode: 'host' }] } },
      { Networks: [{ Target: 'lan', Aliases: ['w'] }] },
    ),
  )
  const [task] = await filtered('/tasks', { service: ['web'] })
  expect(task).toEqual({
    ID: expect.stringMatching(/^[0-9a-z]{25}$/) as string,
    Version: { Index: expect.any(Number) as number },
    CreatedAt: expect.stringMatching(/Z$/) as string,
    UpdatedAt: expect.stringMatching(/Z$/) as string,
    Labels: {},
    Spec: { ContainerSpec: { Image: 'nginx:1' }, Networks: [{ Target: network.Id, Aliases: ['w'] }] },
    ServiceID: id,
    Slot: 1,
    NodeID: bed.cluster.self,
    Status: {
      Timestamp: expect.stringMatching(/Z$/) as string,
      State: 'running',
      Message: 'started',
      ContainerStatus: {
        ContainerID: expect.stringMatching(/^\w{64}$/) as string,
        PID: expect.any(Number) as number,
        ExitCode: 0,
      },
      PortStatus: {
        Ports: [
          {
            Name: 'http',
            Protocol: 'tcp',
            TargetPort: 80,
            PublishedPort: expect.any(Number) as number,
            PublishMode: 'host',
          },
        ],
      },
    },
    DesiredState: 'running',
    NetworksAttachments: [
      {
        Network: expect.objectContaining({
          ID: network.Id,
          Spec: expect.objectContaining({ Name: 'lan' }) as unknown,
        }) as unknown,
        Addresses: [expect.stringMatching(/^10\.0\.1\.\d+\/24$/) as string],
      },
    ],
    GenericResources: null,
  })
  expect(await get(`/tasks/${task.ID}`)).toEqual(task)
  expect(await get(`/tasks/${task.ID.slice(0, 12)}`)).toEqual(task)
})

test('tasks are filtered by service, node, state, label, name and whether they are up to date', async () => {
  const id = await create(web())
  await create(web({ Name: 'agent', Labels: {}, Mode: { Global: {} } }))
  const count = async (filters: object): Promise<number> => (await filtered('/tasks', filters)).length
  expect(await count({})).toBe(5)
  expect(await count({ service: ['web'] })).toBe(2)
  expect(await count({ service: ['web', 'agent'] })).toBe(5)
  expect(await count({ node: ['host-1'] })).toBe(2)
  expect(await count({ node: [bed.cluster.nodes[2]] })).toBe(1)
  expect(await count({ label: ['tier=front'] })).toBe(2)
  expect(await count({ name: ['web.2'] })).toBe(1)
  expect(await count({ 'desired-state': ['running'] })).toBe(5)
  expect(await count({ 'desired-state': ['shutdown'] })).toBe(0)
  const { Version } = await get(`/services/${id}`)
  await bed.call(
    'POST',
    `/services/${id}/update?version=${Version.Index}`,
    web({}, { ContainerSpec: { Image: 'nginx:2' } }),
  )
  expect(await count({ service: ['web'] })).toBe(4)
  expect(await count({ service: ['web'], 'desired-state': ['shutdown'] })).toBe(2)
  expect(await count({ service: ['web'], '_up-to-date': ['true'] })).toBe(2)
  // An ended task still shows the image that it ran.
  const old = await filtered('/tasks', { service: ['web'], 'desired-state': ['shutdown'] })
  expect(old.map(({ Spec }) => Spec.ContainerSpec.Image as string)).toEqual(['nginx:1', 'nginx:1'])
})

test('nodes are filtered by id, name, role, label and membership', async () => {
  const count = async (filters: object): Promise<number> => (await filtered('/nodes', filters)).length
  expect(await count({})).toBe(3)
  expect(await count({ id: [bed.cluster.nodes[1]?.slice(0, 6)] })).toBe(1)
  expect(await count({ name: ['host-3'] })).toBe(1)
  expect(await count({ role: ['worker'] })).toBe(0)
  expect(await count({ 'node.label': ['zone=eu'] })).toBe(1)
  expect(await count({ label: ['disk'] })).toBe(1)
  expect(await count({ membership: ['pending'] })).toBe(0)
})

test('a node has every field that clients read', async () => {
  const node = await get('/nodes/host-1')
  expect(node).toMatchObject({
    ID: bed.cluster.self,
    Spec: { Labels: { zone: 'eu' }, Role: 'manager', Availability: 'active' },
    Description: {
      Hostname: 'host-1',
      Platform: { Architecture: 'x86_64', OS: 'linux' },
      Resources: { NanoCPUs: 2e9, GenericResources: [{ DiscreteResourceSpec: { Kind: 'GPU', Value: 2 } }] },
      Engine: { EngineVersion: '20.10.24', Plugins: [{ Type: 'Volume', Name: 'local' }] },
    },
    Status: { State: 'ready', Addr: '10.99.0.1' },
    ManagerStatus: { Leader: false, Reachability: 'reachable', Addr: '10.99.0.1:7420' },
  })
  expect(JSON.stringify(node)).not.toContain('PublicKey')
})

test.each([
  [{ kind: 'alive' }, 'ready', 'reachable'],
  [{ kind: 'suspect', observers: [] }, 'ready', 'reachable'],
  [{ kind: 'agent-down', observers: [] }, 'disconnected', 'unreachable'],
  [{ kind: 'down', observers: [] }, 'down', 'unreachable'],
  [{ kind: 'unknown' }, 'unknown', 'unknown'],
] as const)('a node that is %j shows as %s', async (liveness, state, reachability) => {
  bed.cluster.setLiveness(bed.cluster.nodes[1]!, liveness)
  const node = await get('/nodes/host-2')
  expect([node.Status.State, node.ManagerStatus.Reachability]).toEqual([state, reachability])
})

test('what Docker has no word for stands in a node’s message', async () => {
  const [first, second, third] = bed.cluster.nodes
  const message = async (liveness: Liveness): Promise<unknown> => {
    bed.cluster.setLiveness(second!, liveness)
    return (await get('/nodes/host-2')).Status.Message
  }
  expect(await message({ kind: 'alive' })).toBeUndefined()
  expect(await message({ kind: 'alive', isOnProbation: true })).toMatch(/^it is back after it was away/)
  expect(await message({ kind: 'down', observers: [third!, first!] })).toBe('the host does not answer')
  bed.cluster.alert(third!, second!, 2_000)
  bed.cluster.alert(first!, second!, 1_000)
  const by = '(say host-1, host-3, since 1970-01-01T00:00:01.000Z)'
  expect(await message({ kind: 'down', observers: [third!, first!] })).toBe(`the host does not answer ${by}`)
  expect(await message({ kind: 'agent-down', observers: [third!, first!] })).toBe(
    `the host answers, its agent does not: its containers run on ${by}`,
  )
  expect(await message({ kind: 'suspect', observers: [third!] })).toMatch(
    /^some cannot reach it \(say host-3, since/,
  )
})

test('docker info warns on a node that is cut off', async () => {
  const warnings = async (): Promise<unknown> => (await get('/info')).Warnings
  const before = await warnings()
  bed.cluster.setCutOff(true)
  expect(await warnings()).toContainEqual(expect.stringContaining('no other node of the cluster answers'))
  bed.cluster.setCutOff(false)
  expect(await warnings()).toEqual(before)
})

test('docker info and moot say whose agent is of a release too far away', async () => {
  const ours = async (): Promise<unknown> => (await get('/moot/v1/status')).rules
  expect(await ours()).toBeUndefined()
  bed.cluster.setRules([7, 8])
  expect(await ours()).toMatch(/nothing is placed, .* upgrade or remove: host-2 \(7, 8\)$/)
  expect((await get('/info')).Warnings).toContain(`WARNING: ${String(await ours())}`)
  bed.cluster.setRules([1])
  expect(await ours()).toBeUndefined()
})

test('docker info and moot say who answers on published ports here, and on which nobody does', async () => {
  const warnings = async (): Promise<unknown> => (await get('/info')).Warnings ?? []
  bed.cluster.setNetwork({ kind: 'kernel', version: 'Linux', wireGuard: { kind: 'kernel' } })
  expect(await warnings()).toEqual([])
  const trouble = { protocol: 'tcp', port: 80, why: 'another program has it' } as const
  const ability = { kind: 'userland', why: 'the program "nft" is missing' } as const
  bed.cluster.setNetwork(ability, [trouble])
  expect(await warnings()).toEqual([
    'WARNING: published ports are passed on in userland, and networks reach one node: the program "nft" is missing',
    'WARNING: port 80/tcp is not answered here: another program has it',
  ])
  expect(await get('/moot/v1/status')).toMatchObject({ network: ability, portTroubles: [trouble] })
})

test('a node update keeps what Docker’s clients do not know of', async () => {
  const node = await get('/nodes/host-2')
  const path = `/nodes/${node.ID}/update?version=${node.Version.Index}`
  const answer = await bed.call('POST', path, { ...node.Spec, Name: 'two', Availability: 'pause' })
  expect([answer.status, answer.text]).toEqual([200, ''])
  const stored = bed.cluster.view().nodes.get(bed.cluster.nodes[1]!)?.spec
  expect(stored).toMatchObject({ Name: 'two', Availability: 'pause', PublicKey: '', Addresses: [] })
  expect((await get('/nodes/two')).ID).toBe(node.ID)
})

test('networks of the cluster and of the engine are one list, filtered alike', async () => {
  await bed.call('POST', '/networks/create', {
    Name: 'lan',
    Driver: 'overlay',
    Labels: { a: '1' },
    CheckDuplicate: true,
  })
  expect((await get('/networks')).map(({ Name }: Any) => Name as string)).toEqual(['lan', 'bridge'])
  const names = async (filters: object): Promise<string[]> =>
    (await filtered('/networks', filters)).map(({ Name }) => Name as string)
  expect(await names({ scope: ['swarm'] })).toEqual(['lan'])
  expect(await names({ scope: ['local'] })).toEqual(['bridge'])
  expect(await names({ label: ['a=1'] })).toEqual(['lan'])
  expect(await names({ label: ['b'] })).toEqual([])
  expect((await get('/networks/lan')).Scope).toBe('swarm')
  expect((await get('/networks/host?scope=swarm')).Driver).toBe('host')
  expect((await bed.call('GET', '/networks/lan?scope=local')).status).toBe(404)
  expect((await bed.call('DELETE', '/networks/lan')).status).toBe(204)
  expect((await bed.call('DELETE', '/networks/lan')).status).toBe(404)
})

test('a service on a cluster network is warned that it reaches one node', async () => {
  await bed.call('POST', '/networks/create', { Name: 'lan', Driver: 'overlay' })
  const answer = await bed.call('POST', '/services/create', web({ Networks: [{ Target: 'lan' }] }))
  expect((answer.body as Any).Warnings).toEqual([
    expect.stringContaining('network lan reaches one node for now'),
  ])
  // The older field moves to where swarmkit has it now.
  const { Spec } = await get('/services/web')
  expect([Spec.Networks, Spec.TaskTemplate.Networks]).toEqual([
    undefined,
    [{ Target: expect.any(String) as string }],
  ])
})

test('reading the swarm makes no token for each read', async () => {
  const first = await get('/swarm')
  const second = await get('/swarm')
  expect(first.JoinTokens).toEqual(second.JoinTokens)
  expect(bed.cluster.tokens()).toHaveLength(1)
  expect(first).toMatchObject({
    ID: expect.any(String) as string,
    Spec: { Orchestration: { TaskHistoryRetentionLimit: 5 } },
  })
  expect(await get('/swarm/unlockkey')).toEqual({ UnlockKey: '' })
  expect((await bed.call('POST', '/swarm/unlock', { UnlockKey: 'x' })).status).toBe(409)
})

test('the digest of an image comes from the engine, and without one it is a plain 404', async () => {
  const missing = await bed.call('GET', '/distribution/registry:5000/a/b:1/json')
  expect([missing.status, missing.body]).toEqual([
    404,
    { message: expect.stringContaining('registry:5000/a/b:1') as string },
  ])
  bed.engine.answer = (req, res) => {
    if (!req.url?.includes('/distribution/')) return false
    res.end('{"Descriptor":{"digest":"sha256:x"}}')
    return true
  }
  expect(await get('/v1.41/distribution/nginx/json')).toEqual({ Descriptor: { digest: 'sha256:x' } })
})

/** Frames of an answer's body: [stream, text]. */
function frames(bytes: Buffer): [number, string][] {
  const found: [number, string][] = []
  for (let at = 0; at + 8 <= bytes.length;) {
    const length = bytes.readUInt32BE(at + 4)
    found.push([bytes[at] ?? 0, bytes.subarray(at + 8, at + 8 + length).toString()])
    at += 8 + length
  }
  return found
}
async function open(path: string): Promise<IncomingMessage> {
  const sent = request({ socketPath: bed.socketPath, path }).end()
  sent.on('error', () => undefined)
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  return answer
}
async function bytesOf(path: string): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync((await open(path)) as AsyncIterable<Buffer>))
}
const frame = (stream: number, text: string): Buffer => {
  const head = Buffer.alloc(8)
  head[0] = stream
  head.writeUInt32BE(Buffer.byteLength(text), 4)
  return Buffer.concat([head, Buffer.from(text)])
}

test('logs carry each task’s stream, with details after the timestamp', async () => {
  const id = await create(web({ Mode: { Replicated: { Replicas: 1 } } }))
  const asked: string[] = []
  bed.cluster.setLogs(async (_task, query) => {
    asked.push(query.toString())
    return (async function* () {
      const all = Buffer.concat([
        frame(1, '2026-01-01T00:00:00.0Z out\n'),
        frame(2, '2026-01-01T00:00:01.0Z err\n'),
      ])
      yield all.subarray(0, 11)
      yield all.subarray(11)
    })()
  })
  const [{ task }] = bed.cluster.tasks() as unknown as [{ task: { id: TaskId } }]
  const bytes = await bytesOf(
    `/v1.41/services/web/logs?stdout=1&stderr=1&timestamps=1&details=1&tail=5&since=7`,
  )
  const details = `com.docker.swarm.node.id=${bed.cluster.self},com.docker.swarm.service.id=${id},com.docker.swarm.task.id=${task.id}`
  expect(frames(bytes)).toEqual([
    [1, `2026-01-01T00:00:00.0Z ${details} out\n`],
    [2, `2026-01-01T00:00:01.0Z ${details} err\n`],
  ])
  expect(asked).toEqual(['stdout=1&stderr=1&timestamps=1&since=7&tail=5'])
})

test('logs of a service with a terminal are plain lines', async () => {
  await create(web({ Mode: { Replicated: { Replicas: 1 } } }, { ContainerSpec: { Image: 'a', TTY: true } }))
  bed.cluster.setLogs(async () =>
    (async function* () {
      yield Buffer.from('one\r\ntw')
      yield Buffer.from('o\r\n')
    })(),
  )
  expect(String(await bytesOf('/services/web/logs?stdout=1'))).toBe('one\r\ntwo\r\n')
  expect(String(await bytesOf('/services/web/logs?stdout=1&details=1'))).toMatch(
    /^com\.docker\.swarm\S+ one\r\ncom\S+ two\r\n$/,
  )
})

test('a node whose logs cannot be read is told in the stream, and the others are read', async () => {
  await create(web())
  const [first] = bed.cluster.tasks()
  const { cluster } = bed
  cluster.setLogs(async (task) => {
    if (task.id === first!.task.id) throw new Error('node host-1 is not reachable')
    return (async function* () {
      yield frame(1, 'fine\n')
    })()
  })
  const found = frames(await bytesOf('/services/web/logs?stdout=1&stderr=1'))
  expect(found.sort(([left], [right]) => left - right)).toEqual([
    [1, 'fine\n'],
    [2, `error from ${first!.task.id}: node host-1 is not reachable\n`],
  ])
})

test('a client that stops following logs ends the reading of each', async () => {
  await create(web())
  const signals: AbortSignal[] = []
  bed.cluster.setLogs(async (_task, _query, signal) => {
    signals.push(signal)
    return (async function* () {
      yield frame(1, 'first\n')
      await once(signal, 'abort')
    })()
  })
  const answer = await open('/services/web/logs?stdout=1&follow=1')
  await once(answer, 'data')
  answer.destroy()
  await Promise.all(signals.map(async (signal) => signal.aborted || once(signal, 'abort')))
  expect(signals).toHaveLength(2)
})

test('a reader that does not read holds the logs back instead of filling the memory', async () => {
  await create(web({ Mode: { Replicated: { Replicas: 1 } } }))
  let produced = 0
  bed.cluster.setLogs(async () =>
    (async function* () {
      for (; produced < 2000; produced++) yield frame(1, 'x'.repeat(16_000))
    })(),
  )
  const answer = await open('/services/web/logs?stdout=1')
  answer.pause()
  // Until it stands still: every turn of the loop could have read more.
  for (let before = -1; before !== produced;) {
    before = produced
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  expect(produced).toBeLessThan(300)
  answer.resume()
  await once(answer, 'end')
  expect(produced).toBe(2000)
})

test('events of the engine and of the cluster are one stream of lines', async () => {
  bed.engine.answer = (req, res) => {
    if (!req.url?.startsWith('/v1.41/events')) return false
    res.writeHead(200)
    res.write('{"Type":"container","Action":"sta')
    setTimeout(() => res.write('rt","scope":"local","time":1}\n'), 20)
    return true
  }
  const answer = await open('/v1.41/events')
  const seen: Any[] = []
  const both = (async () => {
    let rest = ''
    for await (const chunk of answer) {
      const lines = (rest + String(chunk)).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) seen.push(JSON.parse(line))
      if (seen.length === 2) return
    }
  })()
  await create(web())
  await both
  expect(seen.map(({ Type }) => Type as string).sort()).toEqual(['container', 'service'])
  expect(seen.find(({ Type }) => Type === 'service')).toEqual({
    Type: 'service',
    Action: 'create',
    Actor: { ID: expect.any(String) as string, Attributes: { name: 'web' } },
    scope: 'swarm',
    time: expect.any(Number) as number,
    timeNano: expect.any(Number) as number,
  })
})

test('events are filtered by type, event, scope and service', async () => {
  const since = Date.now() / 1000 - 10
  await create(web())
  await bed.call('POST', '/networks/create', { Name: 'lan', Driver: 'overlay' })
  await bed.call('DELETE', '/services/web')
  const kinds = async (filters: object): Promise<string[]> => {
    const query = `since=${since}&until=${Date.now() / 1000}&filters=${encodeURIComponent(JSON.stringify({ scope: ['swarm'], ...filters }))}`
    return String(await bytesOf(`/events?${query}`))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const event: Any = JSON.parse(line)
        return `${event.Type} ${event.Action}`
      })
  }
  expect(await kinds({})).toEqual(['service create', 'network create', 'service remove'])
  expect(await kinds({ type: ['network'] })).toEqual(['network create'])
  expect(await kinds({ event: ['remove'] })).toEqual(['service remove'])
  expect(await kinds({ service: ['web'] })).toEqual(['service create', 'service remove'])
  expect(await kinds({ service: ['other'] })).toEqual([])
  expect(await kinds({ container: ['x'] })).toEqual([])
})

test('dockerode creates, reads, updates, follows and removes', async () => {
  const docker = new Docker({ socketPath: bed.socketPath })
  const created = (await docker.createService(web())) as unknown as { id: string }
  const service = docker.getService(created.id)
  const inspected: Any = await service.inspect()
  expect(inspected.Spec.Name).toBe('web')
  await service.update({
    version: inspected.Version.Index,
    ...web({ Mode: { Replicated: { Replicas: 3 } } }),
  })
  expect(await docker.listTasks({ filters: { service: ['web'] } })).toHaveLength(3)
  expect(await docker.listServices({ filters: { name: ['web'] } })).toHaveLength(1)
  expect(await docker.listNodes()).toHaveLength(3)
  const info: Any = await docker.info()
  expect(info.Swarm.Nodes).toBe(3)
  const logs = (await service.logs({ stdout: true, stderr: true })) as unknown as
    Buffer | AsyncIterable<Buffer>
  const bytes = Buffer.isBuffer(logs) ? logs : Buffer.concat(await Array.fromAsync(logs))
  expect(frames(bytes)).toHaveLength(3)
  await service.remove()
  await expect(service.inspect()).rejects.toMatchObject({ statusCode: 404 })
})

test('more connections than the limit are refused, and those that are open go on', async () => {
  const small = await apiBed({ settings: { apiMaxConnections: 2 } })
  const held = [0, 1].map(() => request({ socketPath: small.socketPath, path: '/events' }).end())
  const answers = await Promise.all(held.map((sent) => once(sent, 'response')))
  await expect(small.call('GET', '/services')).rejects.toThrow(/hang up|ECONNRESET|EPIPE/)
  for (const sent of held) sent.destroy()
  expect(answers).toHaveLength(2)
  await small.stop()
})
