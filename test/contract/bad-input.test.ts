import { networkSpecSchema, serviceSpecSchema } from '@moot/crdt-state'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ApiBed, apiBed } from '../../packages/agent/src/api/testing/api-bed.ts'

let bed: ApiBed
let inactive: ApiBed
beforeAll(async () => {
  bed = await apiBed({ settings: { maxBodyBytes: 64 * 1024 } })
  inactive = await apiBed({ inactive: true })
  await bed.call('POST', '/services/create', spec({ Name: 'taken' }))
  await bed.call('POST', '/networks/create', { Name: 'lan', Driver: 'overlay' })
  const used = spec({ Name: 'onlan' })
  used.TaskTemplate.Networks = [{ Target: 'lan' }]
  await bed.call('POST', '/services/create', used)
})
afterAll(async () => {
  await bed.stop()
  await inactive.stop()
})

// oxlint-disable-next-line typescript/no-explicit-any -- the point of these bodies is that they fit no type
type Body = any

function spec(change: Record<string, unknown> = {}): Body {
  return { Name: 'new', TaskTemplate: { ContainerSpec: { Image: 'app:1' } }, ...change }
}
function container(change: Record<string, unknown>): Body {
  return spec({ TaskTemplate: { ContainerSpec: { Image: 'app:1', ...change } } })
}
function template(change: Record<string, unknown>): Body {
  return spec({ TaskTemplate: { ContainerSpec: { Image: 'app:1' }, ...change } })
}
const port = (change: Record<string, unknown>): Body =>
  spec({ EndpointSpec: { Ports: [{ TargetPort: 80, PublishMode: 'host', ...change }] } })
const mount = (change: Record<string, unknown>): Body =>
  container({ Mounts: [{ Type: 'volume', Source: 'v', Target: '/data', ...change }] })

const refused: [string, Body, number, RegExp][] = [
  ['malformed JSON', '{"Name":', 400, /invalid JSON/],
  ['a body that is no object', '[1]', 400, /must be an object/],
  ['an empty body', '', 400, /EOF/],
  ['a deeply nested body', '{"a":'.repeat(200) + '1' + '}'.repeat(200), 400, /nested deeper/],
  ['a name of a wrong type', spec({ Name: 7 }), 400, /service: Name: .*string/],
  ['no template', { Name: 'x' }, 400, /TaskTemplate/],
  ['an image of a wrong type', container({ Image: 5 }), 400, /TaskTemplate\.ContainerSpec\.Image/],
  ['no image', template({ ContainerSpec: {} }), 400, /TaskTemplate\.ContainerSpec\.Image: it is missing/],
  ['an invalid image', container({ Image: 'Not An Image' }), 400, /not a valid repository\/tag/],
  ['an invalid name', spec({ Name: 'no/slash' }), 400, /valid as a DNS name component/],
  ['a long name', spec({ Name: 'a'.repeat(64) }), 400, /63 characters or fewer/],
  ['a taken name', spec({ Name: 'taken' }), 409, /taken/],
  ['negative replicas', spec({ Mode: { Replicated: { Replicas: -1 } } }), 400, /Replicas/],
  ['half a replica', spec({ Mode: { Replicated: { Replicas: 1.5 } } }), 400, /Replicas/],
  ['too many replicas', spec({ Mode: { Replicated: { Replicas: 1e9 } } }), 400, /number of replicas/],
  ['two modes', spec({ Mode: { Replicated: { Replicas: 1 }, Global: {} } }), 400, /not both/],
  ['a negative limit', template({ Resources: { Limits: { MemoryBytes: -1 } } }), 400, /Limits\.MemoryBytes/],
  ['a tiny memory', template({ Resources: { Limits: { MemoryBytes: 5 } } }), 400, /at least 4MiB/],
  ['a tiny CPU', template({ Resources: { Reservations: { NanoCPUs: 5 } } }), 400, /at least 0.001/],
  ['a port out of range', port({ TargetPort: 70_000 }), 400, /EndpointSpec\.Ports\.0\.TargetPort/],
  ['a protocol nobody speaks', port({ Protocol: 'quic' }), 400, /Protocol/],
  [
    'a port published twice',
    spec({
      EndpointSpec: {
        Ports: [
          { TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' },
          { TargetPort: 81, PublishedPort: 8080, PublishMode: 'host' },
        ],
      },
    }),
    400,
    /duplicate published ports/,
  ],
  [
    'an ingress port with dnsrr',
    spec({ EndpointSpec: { Mode: 'dnsrr', Ports: [{ TargetPort: 80, PublishMode: 'ingress' }] } }),
    400,
    /dnsrr/,
  ],
  [
    'a constraint without an operator',
    template({ Placement: { Constraints: ['node.role'] } }),
    400,
    /constraint/,
  ],
  ['a constraint on nothing', template({ Placement: { Constraints: ['moon==full'] } }), 400, /constraint/],
  ['a mount without a target', mount({ Target: undefined }), 400, /Mounts\.0\.Target/],
  ['a relative mount target', mount({ Target: 'data' }), 400, /must be an absolute path/],
  ['a relative bind source', mount({ Type: 'bind', Source: './x' }), 400, /invalid bind mount source/],
  ['a path as a volume', mount({ Source: '/x' }), 400, /invalid volume mount source/],
  ['a tmpfs with a source', mount({ Type: 'tmpfs' }), 400, /source must be empty/],
  ['a mount type nobody knows', mount({ Type: 'magic' }), 400, /Mounts\.0\.Type/],
  [
    'two mounts in one place',
    container({
      Mounts: [
        { Type: 'tmpfs', Target: '/a' },
        { Type: 'tmpfs', Target: '/a' },
      ],
    }),
    400,
    /duplicate mount point/,
  ],
  ['a variable without a name', container({ Env: ['=x'] }), 400, /invalid environment variable/],
  ['a health check every nanosecond', container({ Healthcheck: { Interval: 1 } }), 400, /less than 1ms/],
  ['a ulimit upside down', container({ Ulimits: [{ Name: 'nofile', Soft: 9, Hard: 5 }] }), 400, /ulimit/],
  [
    'a probe of no port',
    spec({ Labels: { 'moot.health.http': '/ready' } }),
    400,
    /invalid health labels: moot\.health\.http=\/ready: write a port and a path/,
  ],
  [
    'a probe of its container that nobody knows',
    container({ Labels: { 'moot.health.ready': '80', 'moot.health.tcp': '80' } }),
    400,
    /moot\.health\.ready is no label/,
  ],
  [
    'a rebalancing nobody knows',
    spec({ Labels: { 'moot.rebalance': 'yes' } }),
    400,
    /invalid label moot\.rebalance=yes: give auto or off/,
  ],
  [
    'a partition contract that nobody knows',
    spec({ Labels: { 'moot.partition': 'exclusiv' } }),
    400,
    /invalid label moot\.partition=exclusiv: give available .* or exclusive/,
  ],
  [
    'a partition contract of a container',
    container({ Labels: { 'moot.partition': 'exclusive' } }),
    400,
    /moot\.partition is a label of the service/,
  ],
  [
    'a global service that is exclusive',
    spec({ Labels: { 'moot.partition': 'exclusive' }, Mode: { Global: {} } }),
    400,
    /no sense for a global service/,
  ],
  [
    'a fence of one’s own',
    {
      ...container({ Env: ['MOOT_FENCE=1'] }),
      Labels: { 'moot.partition': 'exclusive' },
    },
    400,
    /MOOT_FENCE is set by Moot/,
  ],
  ['a ratio above one', spec({ UpdateConfig: { MaxFailureRatio: 2 } }), 400, /MaxFailureRatio/],
  ['a restart condition nobody knows', template({ RestartPolicy: { Condition: 'maybe' } }), 400, /Condition/],
  ['a negative delay', template({ RestartPolicy: { Delay: -1 } }), 400, /RestartPolicy\.Delay/],
  ['an unknown network', template({ Networks: [{ Target: 'nowhere' }] }), 404, /network nowhere not found/],
  ['one network twice', template({ Networks: [{ Target: 'lan' }, { Target: 'lan' }] }), 400, /named twice/],
  ['a runtime nobody knows', template({ Runtime: 'wasm' }), 400, /unimplemented runtime/],
  ['an ingress port', port({ PublishMode: 'ingress' }), 501, /mode=host/],
  ['a port without a mode', port({ PublishMode: undefined }), 501, /mode=host/],
  ['a secret', container({ Secrets: [{ SecretID: 'a', SecretName: 'b' }] }), 501, /secrets/],
  ['a config', container({ Configs: [{ ConfigID: 'a', ConfigName: 'b' }] }), 501, /configs/],
  ['a job', spec({ Mode: { ReplicatedJob: {} } }), 501, /jobs/],
  ['a global job', spec({ Mode: { GlobalJob: {} } }), 501, /jobs/],
  ['a cluster volume', mount({ Type: 'cluster' }), 501, /CSI/],
  ['a plugin', spec({ TaskTemplate: { Runtime: 'plugin', PluginSpec: { Name: 'x' } } }), 501, /plugins/],
  ['an attachment', spec({ TaskTemplate: { NetworkAttachmentSpec: { ContainerID: 'x' } } }), 501, /attach/],
  [
    'a credential spec',
    container({ Privileges: { CredentialSpec: { File: 'x' } } }),
    501,
    /credential specs/,
  ],
]

test.each(refused)(
  'a service with %s is refused and nothing is stored',
  async (_what, body, status, message) => {
    const before = await bed.call('GET', '/services')
    const answer = await bed.call('POST', '/v1.41/services/create', body)
    expect([answer.status, answer.body]).toEqual([
      status,
      { message: expect.stringMatching(message) as string },
    ])
    const after = await bed.call('GET', '/services')
    expect(after.body).toEqual(before.body)
  },
)

test('a body that is too large is refused with 413, also when it hides its length', async () => {
  const large = JSON.stringify(spec({ Labels: { big: 'x'.repeat(100_000) } }))
  expect((await bed.call('POST', '/services/create', large)).status).toBe(413)
  const chunked = await bed.call('POST', '/services/create', large, { 'Transfer-Encoding': 'chunked' })
  expect(chunked.status).toBe(413)
})

test('a body that calls itself something else than JSON is refused', async () => {
  const answer = await bed.call('POST', '/services/create', '{}', { 'Content-Type': 'text/plain' })
  expect([answer.status, answer.body]).toEqual([
    400,
    { message: expect.stringContaining('unsupported Content-Type') as string },
  ])
})

async function taken(): Promise<{ ID: string; Version: { Index: number }; Spec: Body }> {
  return (await bed.call('GET', '/services/taken')).body as Body
}

test('a stale version is refused in the words that Docker’s clients look for', async () => {
  const { ID, Version, Spec } = await taken()
  const answer = await bed.call('POST', `/services/${ID}/update?version=${Version.Index - 1}`, Spec)
  expect(answer.status).toBe(500)
  expect(answer.text).toMatch(/rpc error: code = Unknown desc = update out of sequence/)
})

test.each(['', '?version=', '?version=abc', '?version=-1', '?version=1e400'])(
  'an update with the version "%s" is refused',
  async (query) => {
    const answer = await bed.call('POST', `/services/taken/update${query}`, spec({ Name: 'taken' }))
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining('invalid service version')])
  },
)

test('a service is not renamed and does not change its mode', async () => {
  const { ID, Version, Spec } = await taken()
  const path = `/services/${ID}/update?version=${Version.Index}`
  const renamed = await bed.call('POST', path, { ...Spec, Name: 'other' })
  expect([renamed.status, renamed.body]).toEqual([400, { message: 'renaming services is not supported' }])
  const turned = await bed.call('POST', path, { ...Spec, Mode: { Global: {} } })
  expect([turned.status, turned.body]).toEqual([400, { message: 'service mode change is not allowed' }])
})

test('what was never changed cannot be rolled back', async () => {
  const { ID, Version, Spec } = await taken()
  const path = `/services/${ID}/update?version=${Version.Index}`
  expect((await bed.call('POST', `${path}&rollback=previous`, Spec)).status).toBe(400)
  expect((await bed.call('POST', `${path}&rollback=sideways`, Spec)).status).toBe(400)
})

test.each([
  ['GET', '/services/none', 404, 'service none not found'],
  ['DELETE', '/services/none', 404, 'service none not found'],
  ['POST', '/services/none/update?version=1', 404, 'service none not found'],
  ['GET', '/services/none/logs?stdout=1', 404, 'service none not found'],
  ['GET', '/services/taken/logs', 400, 'Bad parameters: you must choose at least one stream'],
  ['GET', '/services/taken/logs?stdout=1&tail=x', 400, 'invalid tail "x": give a number of lines, or all'],
  ['GET', '/tasks/none', 404, 'task none not found'],
  ['GET', '/tasks/none/logs?stdout=1', 404, 'task none not found'],
  ['GET', '/nodes/none', 404, 'node none not found'],
  ['DELETE', '/nodes/none', 404, 'node none not found'],
  ['GET', '/secrets/none', 404, 'secret none not found'],
  ['GET', '/configs/none', 404, 'config none not found'],
  ['DELETE', '/secrets/none', 404, 'secret none not found'],
  ['GET', '/networks/nowhere?scope=swarm', 404, 'network nowhere not found'],
  ['GET', '/services?filters={"color":["red"]}', 400, "invalid filter 'color'"],
  ['GET', '/tasks?filters={"color":["red"]}', 400, "invalid filter 'color'"],
  ['GET', '/nodes?filters={"color":["red"]}', 400, "invalid filter 'color'"],
  ['GET', '/networks?filters={"color":["red"]}', 400, "invalid filter 'color'"],
  ['GET', '/secrets?filters={"color":["red"]}', 400, "invalid filter 'color'"],
  ['GET', '/configs?filters={"color":["red"]}', 400, "invalid filter 'color'"],
  ['GET', '/events?filters={"color":["red"]}', 400, "invalid filter 'color'"],
  ['GET', '/events?since=yesterday', 400, 'invalid since "yesterday": give a Unix time or RFC 3339'],
  ['GET', '/tasks?filters={"desired-state":["dancing"]}', 400, "invalid desired_state filter: 'dancing'"],
  ['GET', '/tasks?filters={"service":["none"]}', 404, 'service none not found'],
  ['GET', '/tasks?filters={"node":["none"]}', 404, 'node none not found'],
  ['PUT', '/services', 404, 'page not found'],
  ['GET', '/services/a/b/c', 404, 'page not found'],
  ['GET', '/moot/v1/nonsense', 404, 'page not found'],
  ['GET', '/moot/v1/explain/none', 404, 'task or service none not found'],
  ['POST', '/moot/v1/restore/service/none', 404, 'service none not found'],
  ['GET', '/moot/v1/history/planet/none', 400, expect.stringContaining('invalid kind') as string],
])('%s %s answers %i', async (method, path, status, message) => {
  const body = path.includes('update') ? spec() : undefined
  const answer = await bed.call(method, encodeURI(path), body)
  expect([answer.status, answer.body]).toEqual([status, { message }])
})

test.each([
  [{ Name: 'lan', Driver: 'overlay' }, 409, /exists already/],
  [{ Name: 'a b', Driver: 'overlay' }, 400, /invalid network name/],
  [{ Name: '', Driver: 'overlay' }, 400, /name must be provided/],
  [{ Driver: 'overlay' }, 400, /Name/],
  [{ Name: 'host', Driver: 'overlay' }, 403, /predefined/],
  [{ Name: 'in', Driver: 'overlay', Ingress: true }, 501, /ingress/],
  [{ Name: 'c', Driver: 'overlay', ConfigOnly: true }, 501, /config-only/],
  [{ Name: 'c', Driver: 'overlay', ConfigFrom: { Network: 'x' } }, 501, /config-only/],
  [{ Name: 's', Driver: 'overlay', IPAM: { Config: [{ Subnet: 'all' }] } }, 400, /invalid subnet/],
])('a network %j is refused with %i', async (body, status, message) => {
  const answer = await bed.call('POST', '/networks/create', body)
  expect([answer.status, answer.body]).toEqual([
    status,
    { message: expect.stringMatching(message) as string },
  ])
})

test('a network that a service is on is not removed', async () => {
  const answer = await bed.call('DELETE', '/networks/lan')
  expect([answer.status, answer.text]).toEqual([400, expect.stringContaining('is in use by service')])
})

test('nor is the network that published ports are reached over, while a service needs it', async () => {
  const author = { node: 'test', client: 'test', atMs: 0 }
  const ingress = networkSpecSchema.parse({ Name: 'ingress', Ingress: true })
  const { resource } = await bed.cluster.create('network', 'ingress', ingress, author)
  const Ports = [{ TargetPort: 80, PublishedPort: 8_080, PublishMode: 'ingress' }]
  const shop = serviceSpecSchema.parse(spec({ Name: 'shop', EndpointSpec: { Ports } }))
  const service = await bed.cluster.create('service', 'shop', shop, author)
  const answer = await bed.call('DELETE', `/networks/${resource.id}`)
  expect([answer.status, answer.text]).toEqual([400, expect.stringContaining('is in use by service')])
  await bed.cluster.remove('service', service.resource.id, author)
  expect((await bed.call('DELETE', '/networks/ingress')).status).toBe(204)
})

test.each([
  ['secrets', { Name: 's', Data: 'eA==' }],
  ['configs', { Name: 'c', Data: 'eA==' }],
])('making %s is refused, and their list stays empty', async (kind, body) => {
  const answer = await bed.call('POST', `/${kind}/create`, body)
  expect([answer.status, answer.text]).toEqual([501, expect.stringContaining('Moot does not keep')])
  expect((await bed.call('GET', `/${kind}`)).body).toEqual([])
})

test('a node update with an impossible value is refused by the field', async () => {
  const [node] = (await bed.call('GET', '/nodes')).body as Body[]
  const path = `/nodes/${node.ID}/update?version=${node.Version.Index}`
  for (const [change, message] of [
    [{ Availability: 'gone' }, /Availability/],
    [{ Role: 'king' }, /Role/],
    [{ Labels: { a: 1 } }, /Labels\.a/],
    [{ Colour: 'red' }, /Colour/],
  ] as const) {
    const answer = await bed.call('POST', path, { ...node.Spec, ...change })
    expect([answer.status, answer.body]).toEqual([400, { message: expect.stringMatching(message) as string }])
  }
})

test('a node that is alive is not removed without force', async () => {
  const [, node] = (await bed.call('GET', '/nodes')).body as Body[]
  const answer = await bed.call('DELETE', `/nodes/${node.ID}`)
  expect([answer.status, answer.text]).toEqual([
    400,
    expect.stringContaining("is not down and can't be removed"),
  ])
})

test.each(['/services', '/tasks', '/nodes', '/swarm', '/secrets', '/moot/v1/nodes'])(
  'GET %s on a node without a cluster answers 503 in Docker’s words',
  async (path) => {
    const answer = await inactive.call('GET', path)
    expect([answer.status, answer.text]).toEqual([
      503,
      expect.stringContaining('This node is not a swarm manager. Use \\"docker swarm init\\"'),
    ])
  },
)

test('an overlay network on a node without a cluster is refused', async () => {
  const answer = await inactive.call('POST', '/networks/create', { Name: 'a', Driver: 'overlay' })
  expect(answer.status).toBe(503)
})

test.each([
  ['/v1.20/services', /too old/],
  ['/v9.99/services', /too new/],
])('%s speaks a version that is refused', async (path, message) => {
  const answer = await bed.call('GET', path)
  expect([answer.status, answer.text]).toEqual([400, expect.stringMatching(message)])
})

test('fields that Moot does not know are named in the warnings, empty ones are not', async () => {
  const body = container({ Colour: 'red', Empty: '', Nothing: null, Healthcheck: { Mood: { good: true } } })
  const answer = await bed.call('POST', '/services/create', { ...body, Name: 'coloured' })
  expect(answer.status).toBe(201)
  expect((answer.body as Body).Warnings).toEqual([
    'Moot does not know, and did not store: TaskTemplate.ContainerSpec.Colour, TaskTemplate.ContainerSpec.Healthcheck.Mood',
  ])
})

test('registry credentials and an unconfirmed write are told in the warnings', async () => {
  bed.cluster.confirm = false
  const auth = Buffer.from('{"username":"a","password":"b"}').toString('base64url')
  const answer = await bed.call('POST', '/services/create', spec({ Name: 'private' }), {
    'X-Registry-Auth': auth,
  })
  bed.cluster.confirm = true
  expect((answer.body as Body).Warnings).toEqual([
    expect.stringContaining('registry credentials are not stored'),
    'stored on this node only',
  ])
})

test('bytes that are no HTTP get a 400 and the server goes on', async () => {
  const socket = connect(bed.socketPath)
  const answer = new Promise<string>((resolve) => {
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
    socket.on('close', () => resolve(text))
  })
  socket.write('\0\0garbage\r\n\r\n')
  expect(await answer).toMatch(/^HTTP\/1.1 400/)
  expect((await bed.call('GET', '/_ping')).status).toBe(200)
})
