import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import type { NodeId } from '@moot/crdt-state'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type ApiBed, apiBed } from '../../packages/agent/src/api/testing/api-bed.ts'

let bed: ApiBed
beforeEach(async () => {
  bed = await apiBed()
})
afterEach(async () => bed.stop())

// oxlint-disable-next-line typescript/no-explicit-any -- answers are read as a client without types reads them
type Any = any
const spec = { Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'app:1' } } }

async function ok(method: string, path: string, body?: unknown): Promise<Any> {
  const answer = await bed.call(method, `/moot/v1${path}`, body)
  expect(answer).toMatchObject({ status: 200 })
  return answer.body
}

test('a node begins a cluster, leaves it and joins one', async () => {
  await bed.call('POST', '/moot/v1/leave?force=1')
  expect((await ok('GET', '/status')).state).toEqual({ kind: 'inactive' })
  const init = await ok('POST', '/init', { advertise: '10.0.0.1' })
  expect(init).toEqual({
    token: expect.stringMatching(/^MOOT-1-/) as string,
    expiresAtMs: expect.any(Number) as number,
  })
  expect((await bed.call('POST', '/moot/v1/init', {})).status).toBe(503)
  await ok('POST', '/leave')
  expect(await ok('POST', '/join', { token: init.token })).toEqual({
    nodeId: bed.cluster.self,
    clusterId: expect.any(String) as string,
  })
  await ok('POST', '/leave')
  const wrong = await bed.call('POST', '/moot/v1/join', { token: 'nonsense' })
  expect([wrong.status, wrong.text]).toEqual([400, expect.stringContaining('no join token')])
})

test('tokens are made and listed', async () => {
  const { token } = await ok('POST', '/tokens', { ttlMs: 5000 })
  const { token: another } = await ok('POST', '/tokens')
  expect(another).not.toBe(token)
  expect(await ok('GET', '/tokens')).toEqual([
    { id: expect.any(String) as string, expiresAtMs: expect.any(Number) as number },
    { id: expect.any(String) as string, expiresAtMs: expect.any(Number) as number },
  ])
})

test.each([
  ['POST', '/tokens', { ttlMs: -5 }, /ttlMs/],
  ['POST', '/tokens', { ttl: '1h' }, /ttl/],
  ['POST', '/join', {}, /token/],
  ['POST', '/init', { advertise: 7 }, /advertise/],
])('%s %s refuses %j by the field', async (method, path, body, message) => {
  const answer = await bed.call(method, `/moot/v1${path}`, body)
  expect([answer.status, answer.text]).toEqual([400, expect.stringMatching(message)])
})

test('status tells this node’s own state', async () => {
  expect(await ok('GET', '/status')).toEqual({
    state: { kind: 'active', clusterId: expect.any(String) as string },
    nodeId: bed.cluster.self,
    version: '0.1.0',
    peers: bed.cluster.nodes.slice(1),
    network: { kind: 'none', why: 'it is in memory' },
    portTroubles: [],
    damage: [],
    synced: true,
    cutOff: false,
  })
})

test('nodes show their liveness and who says so', async () => {
  const [first, second, third] = bed.cluster.nodes
  bed.cluster.setLiveness(second!, { kind: 'down', observers: [first!, third!] })
  const nodes = await ok('GET', '/nodes')
  expect(nodes[1]).toMatchObject({
    id: second,
    name: 'host-2',
    liveness: 'down',
    observers: [first, third],
    onProbation: false,
    engine: '20.10.24',
  })
  bed.cluster.setLiveness(second!, { kind: 'alive', isOnProbation: true })
  expect((await ok('GET', '/nodes'))[1]).toMatchObject({ liveness: 'alive', onProbation: true })
})

test('explain says where a slot is, by task, by slot and for a whole service', async () => {
  await bed.call('POST', '/services/create', { ...spec, Mode: { Replicated: { Replicas: 2 } } })
  const [, second] = bed.cluster.tasks()
  const all = await ok('GET', '/explain/web')
  expect(all.map(({ subject, kind }: Any) => [subject, kind] as unknown)).toEqual([
    ['web.1', 'held'],
    ['web.2', 'held'],
  ])
  const one = await ok('GET', '/explain/web.2')
  expect(one).toEqual(all[1])
  expect(one.lines.join('\n')).toMatch(/host-2/)
  expect(await ok('GET', `/explain/${second!.task.id}`)).toEqual(one)
  await bed.call('POST', '/services/create', { ...spec, Name: 'agent', Mode: { Global: {} } })
  expect((await ok('GET', '/explain/agent.host-3')).subject).toBe('agent.host-3')
})

test('explain names every node that refuses a pending task', async () => {
  const Placement = { Constraints: ['node.labels.nowhere==x'] }
  await bed.call('POST', '/services/create', { ...spec, TaskTemplate: { ...spec.TaskTemplate, Placement } })
  const answer = await ok('GET', '/explain/web.1')
  expect(answer.kind).toBe('pending')
  expect(answer.refusals.map(({ name, reason }: Any) => `${name}: ${reason}`)).toEqual([
    'host-1: node.labels.nowhere is not x',
    'host-2: node.labels.nowhere is not x',
    'host-3: node.labels.nowhere is not x',
  ])
  expect(answer.lines.join('\n')).toContain('host-2: node.labels.nowhere is not x')
})

test('history tells who changed what, and a removed service comes back', async () => {
  await bed.call('POST', '/services/create', spec, { 'User-Agent': 'test-client/1' })
  const history = await ok('GET', '/history/service/web')
  expect(history).toEqual([
    {
      author: { node: bed.cluster.self, client: 'test-client/1', atMs: expect.any(Number) as number },
      action: 'create',
      paths: [],
      heads: [expect.any(String) as string],
      spec: expect.objectContaining({ Name: 'web' }) as unknown,
    },
  ])
  await bed.call('DELETE', '/services/web')
  expect((await bed.call('GET', '/moot/v1/history/service/web')).status).toBe(404)
  expect(await ok('POST', '/restore/service/web')).toMatchObject({ name: 'web', warnings: [] })
  expect((await bed.call('GET', '/services/web')).status).toBe(200)
})

test('conflicts are shown with the values that lost', async () => {
  expect(await ok('GET', '/conflicts')).toEqual([])
  await bed.call('POST', '/services/create', spec)
  const [service] = bed.cluster.view().services.values()
  const author = { node: 'n', client: 'c', atMs: 1 }
  bed.cluster.setConflicts(service!.id, [
    {
      path: '/Mode',
      winner: 1,
      losers: [
        { value: 2, author },
        { value: 3, author: undefined },
      ],
    },
  ])
  expect(await ok('GET', '/conflicts')).toEqual([
    {
      kind: 'service',
      id: service!.id,
      name: 'web',
      path: '/Mode',
      winner: 1,
      losers: [{ value: 2, author }, { value: 3 }],
    },
  ])
})

/** All four tasks of a service are on one node. */
async function uneven(): Promise<string> {
  const { body } = await bed.call('POST', '/services/create', {
    ...spec,
    Mode: { Replicated: { Replicas: 4 } },
  })
  for (const { task } of bed.cluster.tasks()) bed.cluster.moveTask(task.id, bed.cluster.self)
  return (body as Any).ID
}

test('a rebalancing is shown, asked for once, and followed', async () => {
  const service = await uneven()
  const facts = () => [...bed.cluster.view().services.values()][0]!.facts
  const shown = await ok('POST', '/rebalance', { dryRun: true })
  expect(shown).toMatchObject({
    dryRun: true,
    moves: [
      {
        task: 'web.4',
        service,
        from: { name: 'host-1' },
        why: expect.stringMatching(/^host-1 has 4 of web, host-/),
      },
      { task: 'web.3', from: { name: 'host-1' } },
    ],
    underWay: [],
  })
  expect(facts().size).toBe(0)
  expect((await ok('POST', '/rebalance', { subject: 'web' })).moves).toEqual(shown.moves)
  expect([...facts().keys()].length).toBe(2)
  expect(await ok('GET', '/rebalance')).toMatchObject([
    { task: 'web.3', state: 'waiting' },
    { task: 'web.4', state: 'waiting' },
  ])
  expect(await ok('POST', '/rebalance')).toMatchObject({ moves: [], underWay: [{}, {}] })
  expect(facts().size).toBe(2)
  expect(await ok('GET', '/changes/web')).toMatchObject([
    { action: 'fact', what: ['rebalanced: slots 3, 4'] },
    { action: 'create' },
  ])
  for (const { slot, attempt, to } of shown.moves) {
    const found = bed.cluster.tasks().find(({ task }) => task.slot === slot && task.attempt === attempt)
    bed.cluster.moveTask(found!.task.id, to.id)
  }
  expect(await ok('GET', '/rebalance')).toEqual([])
  expect((await ok('POST', '/rebalance')).moves).toEqual([])
})

test('a task that no node took is told of, and asked for anew', async () => {
  await uneven()
  const { moves } = await ok('POST', '/rebalance')
  const balance = { kind: 'staying', asked: 1, sinceMs: 1, shares: [4] } as const
  for (const { slot, attempt } of moves) {
    const found = bed.cluster.tasks().find(({ task }) => task.slot === slot && task.attempt === attempt)
    bed.cluster.changeTask(found!.task.id, { balance })
  }
  expect(await ok('GET', '/rebalance')).toMatchObject([{ state: 'stays' }, { state: 'stays' }])
  expect((await ok('POST', '/rebalance')).moves).toEqual(moves)
  expect(await ok('GET', '/rebalance')).toMatchObject([{ state: 'waiting' }, { state: 'waiting' }])
})

test('of what cannot be evened out it is told why; of what is not there, that it is not', async () => {
  await bed.call('POST', '/services/create', { ...spec, Name: 'agent', Mode: { Global: {} } })
  expect(await ok('POST', '/rebalance', { subject: 'agent', dryRun: true })).toMatchObject({
    moves: [],
    left: [{ name: 'agent', why: 'a global service has a task on each node' }],
  })
  expect((await bed.call('POST', '/moot/v1/rebalance', { subject: 'nothing' })).status).toBe(404)
  expect((await bed.call('POST', '/moot/v1/rebalance', { dry: true })).status).toBe(400)
})

test('voters are told, and others can be named by force: an odd number of members', async () => {
  const before = await ok('GET', '/voters')
  expect(before).toMatchObject({
    epoch: 1,
    health: 'well',
    voters: [{ id: bed.cluster.self, answers: true }],
  })
  const forced = await ok('POST', '/voters/force', { nodes: [bed.cluster.nodes[1]] })
  expect(forced.voters).toEqual([{ id: bed.cluster.nodes[1], name: expect.any(String), answers: true }])
  expect(forced.epoch).toBeGreaterThan(2 ** 32 - 1)
  const even = await bed.call('POST', '/moot/v1/voters/force', { nodes: bed.cluster.nodes.slice(0, 2) })
  expect([even.status, even.text]).toEqual([400, expect.stringContaining('one, three or five')])
  const stranger = await bed.call('POST', '/moot/v1/voters/force', { nodes: ['nowhere'] })
  expect(stranger.status).toBe(404)
})

test('what is encrypted between nodes is told, and its keys can be changed where there are any', async () => {
  const change = (): ReturnType<typeof bed.call> => bed.call('POST', '/moot/v1/networks/change-keys', {})
  expect((await ok('GET', '/status')).encryption).toBeUndefined()
  expect((await change()).status).toBe(409)
  const [, sealed, open] = bed.cluster.nodes as [NodeId, NodeId, NodeId]
  bed.cluster.setEncryption({ wireGuard: { kind: 'kernel' }, sealed: [sealed], open: [open] })
  expect((await ok('GET', '/status')).encryption).toMatchObject({
    by: 'kernel',
    sealed: [expect.any(String)],
    open: [expect.any(String)],
  })
  expect((await change()).status).toBe(200)
  const network = { Driver: 'overlay', Options: { encrypted: '' } }
  const warned = await bed.call('POST', '/networks/create', { ...network, Name: 'one' })
  expect(warned.body).toMatchObject({
    Warning: expect.stringMatching(/one is not encrypted to and from \S+:/),
  })
  bed.cluster.setEncryption({ wireGuard: { kind: 'none', why: 'wg is missing' }, sealed: [], open: [sealed] })
  expect((await ok('GET', '/status')).encryption).toMatchObject({ by: 'none', why: 'wg is missing' })
  expect((await change()).text).toMatch(/wg is missing/)
  expect(bed.cluster.keyChanges()).toBe(1)
})

test('the OpenAPI document describes every operation, with its schemas', async () => {
  const document = await ok('GET', '/openapi.json')
  expect(document.openapi).toBe('3.1.0')
  expect(Object.keys(document.paths as object).sort()).toEqual([
    '/moot/v1/changes/{ref}',
    '/moot/v1/conflicts',
    '/moot/v1/deploy/{stack}',
    '/moot/v1/explain/{ref}',
    '/moot/v1/history/{kind}/{ref}',
    '/moot/v1/init',
    '/moot/v1/join',
    '/moot/v1/leave',
    '/moot/v1/net',
    '/moot/v1/net/{ref}',
    '/moot/v1/networks/change-keys',
    '/moot/v1/nodes',
    '/moot/v1/openapi.json',
    '/moot/v1/outcome/{ref}',
    '/moot/v1/rebalance',
    '/moot/v1/restore/{kind}/{name}',
    '/moot/v1/rollback/{ref}',
    '/moot/v1/status',
    '/moot/v1/tokens',
    '/moot/v1/voters',
    '/moot/v1/voters/force',
  ])
  const tokens = document.paths['/moot/v1/tokens'].post
  expect(tokens.requestBody.content['application/json'].schema.properties.ttlMs.type).toBe('integer')
  expect(tokens.responses[200].content['application/json'].schema.required).toEqual(['token', 'expiresAtMs'])
})

test('the event stream tells of tasks too', async () => {
  const sent = request({ socketPath: bed.socketPath, path: '/moot/v1/events' }).end()
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  await bed.call('POST', '/services/create', spec)
  let text = ''
  for await (const chunk of answer) {
    text += String(chunk)
    if (text.split('\n').length > 2) break
  }
  const lines = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(lines.slice(0, 2)).toMatchObject([
    { kind: 'spec', resource: 'service', name: 'web', action: 'create' },
    { kind: 'task', after: { state: 'running' } },
  ])
})
