import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NodeId } from '@moot/crdt-state'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
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

describe('a Docker engine of which one container hangs', () => {
  let directory: string
  let server: Server
  const hung = new Set<string>()

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'moot-engine-'))
    hung.clear()
    const json = (answer: ServerResponse, body: unknown): void => {
      answer.setHeader('content-type', 'application/json')
      answer.end(JSON.stringify(body))
    }
    server = createServer((asked, answer) => {
      const path = (asked.url ?? '').replace(/\?.*/, '')
      if (path === '/version') return json(answer, { ApiVersion: '1.41' })
      if (path === '/v1.41/containers/json') return json(answer, listed)
      const [, id = ''] = /containers\/(\w+)\/json$/.exec(path) ?? []
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

  it('lists all the others, and of that one what the list itself says', async () => {
    hung.add('hung').add('ended')
    const warnings: string[] = []
    const engine = createDockerEngine({
      socketPath: join(directory, 'docker.sock'),
      clusterId: () => 'cluster',
      node,
      logger: { warn: (_fields, message) => warnings.push(message) },
      inspectAllTimeoutMs: 100,
    })
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
})
