import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NodeId } from '@moot/crdt-state'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Engine } from '../../ports/engine.ts'
import { createDockerEngine } from './engine.ts'
import { label } from './labels.ts'

const node = 'n'.repeat(25) as NodeId
const labels = (task: string): Record<string, string> => ({
  [label.cluster]: 'cluster',
  [label.node]: node,
  [label.service]: 's'.repeat(25),
  [label.task]: task.padEnd(25, 'x'),
})
const listed = [
  { Id: 'one', Labels: labels('one'), State: 'running', Status: 'Up 3 minutes (healthy)' },
  { Id: 'hung', Labels: labels('hung'), State: 'created', Status: 'Created' },
  { Id: 'ended', Labels: labels('ended'), State: 'exited', Status: 'Exited (137) 2 hours ago' },
]
const inspected = (id: string): object => ({
  Id: id,
  State: {
    Status: 'running',
    ExitCode: 0,
    OOMKilled: false,
    Error: '',
    Pid: 7,
    Health: { Status: 'healthy' },
  },
  Config: { Labels: labels(id) },
  NetworkSettings: { Ports: {}, Networks: {} },
})

describe('a Docker engine that does not let all containers be inspected', () => {
  let directory: string
  let server: Server
  const hung = new Set<string>()
  const broken = new Set<string>()
  let here: readonly object[] = listed
  let warnings: string[] = []
  const make = (inspectAllTimeoutMs: number): Engine =>
    createDockerEngine({
      socketPath: join(directory, 'docker.sock'),
      clusterId: () => 'cluster',
      node,
      logger: { warn: (_fields, message) => warnings.push(message) },
      inspectAllTimeoutMs,
    })

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'moot-engine-'))
    hung.clear()
    broken.clear()
    here = listed
    warnings = []
    const json = (answer: ServerResponse, body: unknown, status = 200): void => {
      answer.statusCode = status
      answer.setHeader('content-type', 'application/json')
      answer.end(JSON.stringify(body))
    }
    server = createServer((asked, answer) => {
      const path = (asked.url ?? '').replace(/\?.*/, '')
      if (path === '/version') return json(answer, { ApiVersion: '1.41' })
      if (path === '/v1.41/containers/json') return json(answer, here)
      const [, id = ''] = /containers\/(\w+)\/json$/.exec(path) ?? []
      if (broken.has(id)) {
        return json(answer, { message: `RWLayer of container ${id} is unexpectedly nil` }, 500)
      }
      return hung.has(id) ? undefined : json(answer, inspected(id))
    })
    server.listen(join(directory, 'docker.sock'))
    await once(server, 'listening')
  })
  afterEach(() => {
    server.closeAllConnections()
    server.close()
    rmSync(directory, { recursive: true })
  })

  it('lists all the others where one hangs, and of that one what the list itself says', async () => {
    hung.add('hung').add('ended')
    const engine = make(100)
    const list = await engine.list(new AbortController().signal)
    expect(list).toMatchObject([
      { container: 'one', state: 'running', health: 'healthy', pid: 7 },
      { container: 'hung', state: 'created', health: 'none' },
      { container: 'ended', state: 'exited', exitCode: 137 },
    ])
    expect(warnings).toHaveLength(2)
    hung.clear()
    const again = await engine.list(new AbortController().signal)
    expect(again[1]).toMatchObject({ container: 'hung', pid: 7 })
  })

  it('lists all the others where the look at one is answered with an error, and is not taken for unavailable', async () => {
    broken.add('ended')
    const list = await make(10_000).list(new AbortController().signal)
    expect(list).toMatchObject([
      { container: 'one', pid: 7 },
      { container: 'hung', pid: 7 },
      { container: 'ended', state: 'exited', exitCode: 137 },
    ])
    expect(warnings).toHaveLength(1)
  })

  it('does not look late at many containers because the first of them hangs', async () => {
    const ids = Array.from({ length: 30 }, (_, index) => `c${index}`)
    here = ids.map((id) => ({
      Id: id,
      Labels: labels(id),
      State: 'running',
      Status: 'Up 3 minutes (healthy)',
    }))
    hung.add('c0')
    const list = await make(1_000).list(new AbortController().signal)
    expect(list.map(({ container }) => container)).toEqual(ids)
    expect(list.filter(({ pid }) => pid === undefined).map(({ container }) => container)).toEqual(['c0'])
    expect(warnings).toHaveLength(1)
  })
})
