import { readFileSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Hosts } from './hosts.ts'
import { allReady, createService, service, services, untilRuns } from './questions.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- the point of these bodies is that they fit no type
type Body = any

const spec = (change: Record<string, unknown> = {}): Body => ({
  Name: 'new',
  TaskTemplate: { ContainerSpec: { Image: 'moot/test:1' } },
  Mode: { Replicated: { Replicas: 0 } },
  ...change,
})

/** Pino's number for `error`. */
const errorLevel = 50

/** Every row of the table in test/contract goes through the same code; here are the ones that cross a real socket. */
describe('bad input to real agents', () => {
  let hosts: Hosts
  let pids: readonly (number | undefined)[]
  let nodes: readonly string[]
  let logged: readonly number[]

  beforeAll(async () => {
    hosts = await Hosts.up(5)
    await hosts.reset()
    await allReady(hosts)
    await createService(hosts.host(2), 'taken', '--replicas', '3')
    await untilRuns(hosts, 'taken', 3)
  })

  const log = (index: number): string => join(hosts.host(index).directory, 'agent.log')
  async function members(): Promise<string[]> {
    const text = await hosts.host(1).docker('node', 'ls', '--format', '{{.ID}} {{.Status}} {{.Availability}}')
    return text.split('\n').toSorted((a, b) => (a < b ? -1 : 1))
  }

  beforeEach(async () => {
    pids = hosts.all().map(({ agentPid }) => agentPid)
    nodes = await members()
    logged = hosts.all().map(({ index }) => statSync(log(index)).size)
  })
  afterEach(() => undisturbed())

  /** The same processes, nodes and services as before, and nobody logged an error. */
  async function undisturbed(): Promise<void> {
    expect(hosts.all().map(({ agentPid }) => agentPid)).toEqual(pids)
    expect(await members()).toEqual(nodes)
    for (const [position, host] of hosts.all().entries()) {
      const text = readFileSync(log(host.index)).subarray(logged[position]).toString('utf8')
      const lines = text.split('\n').filter(Boolean)
      const isError = (line: string): boolean => (JSON.parse(line) as { level: number }).level >= errorLevel
      expect(lines.filter((line) => !line.startsWith('{') || isError(line))).toEqual([])
      expect((await services(host)).map(({ Spec }) => Spec.Name)).toEqual(['taken'])
    }
  }

  const refusals: readonly [string, string, () => Promise<string> | string, Body, number, RegExp][] = [
    ['an unknown service', 'GET', () => '/services/nowhere', undefined, 404, /service nowhere not found/],
    ['an unknown task', 'GET', () => '/tasks/nowhere', undefined, 404, /nowhere not found/],
    ['an unknown node', 'GET', () => '/nodes/nowhere', undefined, 404, /nowhere not found/],
    ['an unknown path', 'GET', () => '/v1.41/nowhere', undefined, 404, /./],
    ['a taken name', 'POST', () => '/services/create', spec({ Name: 'taken' }), 409, /taken/],
    [
      'an invalid image',
      'POST',
      () => '/services/create',
      spec({ TaskTemplate: { ContainerSpec: { Image: 'Not An Image' } } }),
      400,
      /not a valid repository/,
    ],
    [
      'impossible replicas',
      'POST',
      () => '/services/create',
      spec({ Mode: { Replicated: { Replicas: -1 } } }),
      400,
      /Replicas/,
    ],
    ['a wrong type', 'POST', () => '/services/create', spec({ Name: 7 }), 400, /Name/],
    [
      'an impossible limit',
      'POST',
      () => '/services/create',
      spec({ TaskTemplate: { ContainerSpec: { Image: 'a' }, Resources: { Limits: { MemoryBytes: -1 } } } }),
      400,
      /MemoryBytes/,
    ],
    [
      'a removal of what is not there',
      'DELETE',
      () => '/services/nowhere',
      undefined,
      404,
      /nowhere not found/,
    ],
    [
      'a joiner with a bad token',
      'POST',
      () => '/swarm/join',
      { JoinToken: 'x', RemoteAddrs: [] },
      503,
      /already part of a swarm/,
    ],
    [
      'a stale version',
      'POST',
      async () => `/services/${(await service(hosts.host(3), 'taken')).ID}/update?version=1`,
      spec({ Name: 'taken' }),
      500,
      /out of sequence/,
    ],
  ]

  it.each(refusals)(
    '%s gets Docker’s status and a message',
    async (_what, method, path, body, status, message) => {
      const answer = await hosts.host(3).answer(method, await path(), body)
      expect([answer.status, JSON.parse(answer.text)]).toEqual([
        status,
        { message: expect.stringMatching(message) },
      ])
    },
  )

  /** Bytes on the agent's socket, and all that it answers until it closes. */
  function raw(text: string | Buffer): Promise<string> {
    return new Promise((resolve, reject) => {
      let told = ''
      const socket = connect(hosts.host(4).agentSocket, () => socket.write(text))
      socket.setEncoding('utf8').on('data', (chunk: string) => (told += chunk))
      socket.on('close', () => resolve(told))
      socket.on('error', (error) => (told === '' ? reject(error) : undefined))
    })
  }
  const posted = (body: string): string =>
    `POST /services/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`

  it.each([
    ['malformed JSON', () => posted('{"Name":'), /^HTTP\/1.1 400 [^]*"message":"[^"]*invalid JSON/],
    [
      'an oversized body',
      () => posted(`{"Name":"${'x'.repeat(8 * 1024 * 1024)}"}`),
      /^HTTP\/1.1 413 [^]*"message"/,
    ],
    ['something else than HTTP', () => '\u0000\u0001garbage\r\n\r\n', /^HTTP\/1.1 400/],
  ])('%s on the API socket is answered, and the connection ends', async (_what, text, answer) => {
    expect(await raw(text())).toMatch(answer)
  })

  const fromHostFive = async (...args: string[]): Promise<unknown> =>
    JSON.parse(
      await hosts.host(5).inside(process.execPath, join(import.meta.dirname, 'mesh-abuse.ts'), ...args),
    )

  it('the mesh port closes the connection to random bytes, to HTTP, and to 200 that say nothing', async () => {
    const { address } = hosts.host(1)
    const told = await Promise.all([
      fromHostFive('random', address, '7420'),
      fromHostFive('http', address, '7420'),
      fromHostFive('half-open', address, '7420'),
    ])
    expect(told).toEqual([{ closed: 50 }, { closed: 2 }, { closed: 200 }])
  })

  it('to datagrams of strangers the mesh port says nothing', async () => {
    expect(await fromHostFive('datagrams', hosts.host(1).address, '7420')).toEqual({ answers: 0 })
  })

  it('a peer that is no member is heard by nobody, also while a joiner is awaited', async () => {
    const { token } = await hosts.host(1).api<{ token: string }>('POST', '/moot/v1/tokens', { ttlMs: 60_000 })
    const told = await fromHostFive('stranger', token)
    expect(told).toEqual({
      peers: 0,
      sync: expect.stringMatching(/refused: /),
      commit: expect.stringMatching(/refused: /),
      join: expect.stringMatching(/refused: the join token is not valid/),
      garbage: expect.stringMatching(/refused: the join request cannot be read/),
    })
  })
})
