import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ContainerId } from '@moot/crdt-state'
import { afterEach, expect, test } from 'vitest'
import { EventRecorder } from './engine.events.ts'
import { taskSetup, testCluster, testNetwork, testNode } from './engine.setup.ts'
import { EngineUnavailableError, TaskRejectedError } from '../../packages/agent/src/ports/engine.errors.ts'
import type { Engine, EngineEvent } from '../../packages/agent/src/ports/engine.ts'
import { createDockerEngine } from '../../packages/agent/src/adapters/docker/engine.ts'

/** An engine that answers as a test tells it to: what a real one does too rarely, or too late, to be waited for. */
class ScriptedDocker {
  readonly asked: string[] = []
  readonly #directory = mkdtempSync(join(tmpdir(), 'moot-engine-'))
  readonly socketPath = join(this.#directory, 's')
  readonly #handlers: { readonly path: RegExp; readonly handle: Handler }[] = []
  #server = createServer((request, response) => this.#answer(request, response))
  apiVersion = '1.41'

  on(path: RegExp, handle: Handler): void {
    this.#handlers.unshift({ path, handle })
  }

  json(path: RegExp, body: unknown, status = 200): void {
    this.on(path, (_, response) => send(response, status, body))
  }

  async listen(): Promise<void> {
    this.#server = createServer((request, response) => this.#answer(request, response))
    await new Promise<void>((resolve) => {
      this.#server.listen(this.socketPath, resolve)
    })
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
  }

  async destroy(): Promise<void> {
    await this.close()
    rmSync(this.#directory, { recursive: true })
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = decodeURIComponent(request.url ?? '')
    this.asked.push(`${request.method} ${url}`)
    if (url === '/version') return send(response, 200, { ApiVersion: this.apiVersion })
    const handler = this.#handlers.find(({ path }) => path.test(`${request.method} ${url}`))
    if (handler === undefined) return send(response, 404, { message: `no script for ${url}` })
    handler.handle(request, response)
  }
}
type Handler = (request: IncomingMessage, response: ServerResponse) => void

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body))
}

const setup = taskSetup()
const container = 'c1' as ContainerId
const labels = {
  'moot.cluster': testCluster,
  'moot.node': testNode,
  'moot.task': setup.task.id,
  'moot.service': setup.task.service,
}
const inspected = (Status: string, more: object = {}): object => ({
  Id: container,
  State: { Status, ExitCode: 0, OOMKilled: false, Error: '', Pid: Status === 'running' ? 7 : 0, ...more },
  Config: { Labels: labels },
  NetworkSettings: { Ports: {}, Networks: {} },
})
const event = (Action: string, attributes: object = {}): string =>
  `${JSON.stringify({ Action, Actor: { ID: container, Attributes: { ...labels, ...attributes } } })}\n`

const signal = new AbortController().signal
let docker: ScriptedDocker | undefined
let told: EventRecorder | undefined
afterEach(async () => {
  await told?.stop()
  await docker?.destroy()
  docker = undefined
  told = undefined
})

async function start(): Promise<{ docker: ScriptedDocker; engine: Engine }> {
  docker = new ScriptedDocker()
  await docker.listen()
  const engine = createDockerEngine({
    socketPath: docker.socketPath,
    clusterId: () => testCluster,
    node: testNode,
    logger: { warn: () => {} },
  })
  return { docker, engine }
}

/** The scripted engine's open event stream, once the reader is there. */
async function openEvents(docker: ScriptedDocker, engine: Engine): Promise<ServerResponse> {
  const { promise, resolve } = Promise.withResolvers<ServerResponse>()
  docker.on(/\/events/, (_, response) => {
    response.writeHead(200).flushHeaders()
    resolve(response)
  })
  told = new EventRecorder(engine)
  await told.until('connected', ({ kind }) => kind === 'connected')
  return promise
}

const isState =
  (state: string) =>
  (event: EngineEvent): boolean =>
    event.kind === 'container' && event.observation.state === state

test('a death is told from its event alone, and a slower look at an earlier event does not undo it', async () => {
  const { docker, engine } = await start()
  const events = await openEvents(docker, engine)
  const looked = Promise.withResolvers<ServerResponse>()
  docker.on(/c1\/json/, (_, response) => looked.resolve(response))
  events.write(event('start'))
  const answer = await looked.promise
  events.write(event('oom') + event('die', { exitCode: '137' }))
  expect(await told?.until('exited', isState('exited'))).toMatchObject({
    observation: { exitCode: 137, oomKilled: true, task: setup.task.id },
  })
  send(answer, 200, inspected('running'))
  events.write(event('destroy'))
  await told?.until('removed', ({ kind }) => kind === 'removed')
  expect(told?.seen.map(({ kind }) => kind)).toEqual(['connected', 'container', 'removed'])
})

test('events of other nodes, other clusters and other people say only that somebody may be on our networks', async () => {
  const { docker, engine } = await start()
  const events = await openEvents(docker, engine)
  events.write(
    event('destroy', { 'moot.cluster': 'other' }) +
      event('health_status: healthy', { 'moot.node': 'other' }) +
      event('destroy'),
  )
  await told?.until('removed', ({ kind }) => kind === 'removed')
  expect(told?.seen.map(({ kind }) => kind)).toEqual(['connected', 'guests', 'removed'])
})

test('a network that is just being made is not made twice because another is removed meanwhile', async () => {
  const { docker, engine } = await start()
  const events = await openEvents(docker, engine)
  docker.json(/GET .*\/networks/, [])
  const asked = Promise.withResolvers<ServerResponse>()
  docker.on(/networks\/create/, (_, response) => asked.resolve(response))
  const [subnet, gateway, address] = ['10.77.0.0/24', '10.77.0.64', '10.77.0.65'] as const
  const overlay = { network: testNetwork(), bridge: 'moot-x', subnet, gateway, address }
  const first = engine.network(overlay, signal)
  const answer = await asked.promise
  const removed = { Type: 'network', Action: 'destroy', Actor: { ID: 'n1', Attributes: { name: 'other' } } }
  events.write(`${JSON.stringify({ ...removed, Action: 'create' })}\n${JSON.stringify(removed)}\n`)
  await told?.until('somebody may have left', ({ kind }) => kind === 'guests')
  const second = engine.network(overlay, signal)
  send(answer, 201, { Id: 'n2' })
  expect(await Promise.all([first, second])).toEqual([overlay.network.name, overlay.network.name])
  expect(told?.seen.map(({ kind }) => kind)).toEqual(['connected', 'guests'])
  expect(docker.asked.filter((line) => line.includes('networks/create'))).toHaveLength(1)
})

test('an event whose look at the container fails is an event lost: the stream begins anew', async () => {
  const { docker, engine } = await start()
  docker.json(/c1\/json/, { message: 'broken' }, 500)
  const events = await openEvents(docker, engine)
  events.write(event('start'))
  await told?.until('disconnected', ({ kind }) => kind === 'disconnected')
  await told?.until('connected again', ({ kind }) => kind === 'connected', { from: 2 })
  expect(told?.seen[1]).toEqual({ kind: 'disconnected', error: 'broken' })
})

test('a stream that breaks, or speaks garbage, is told once and taken up again', async () => {
  const { docker, engine } = await start()
  const events = await openEvents(docker, engine)
  events.write('{"Action":')
  events.end('"start"} garbage\n')
  await told?.until('disconnected', ({ kind }) => kind === 'disconnected')
  await told?.until('connected again', ({ kind }) => kind === 'connected', { from: 2 })
  await docker.close()
  await told?.until('disconnected again', ({ kind }) => kind === 'disconnected', { from: 3 })
  await docker.listen()
  await told?.until('connected at last', ({ kind }) => kind === 'connected', { from: 4 })
  // However often it tried meanwhile, the reader heard of each loss once.
  const kinds = told?.seen.map(({ kind }) => kind)
  expect(kinds).toEqual('connected disconnected connected disconnected connected'.split(' '))
})

test('a newer engine is spoken to in the newest version that is known here, an older one in its own', async () => {
  const { docker, engine } = await start()
  docker.json(/\/containers\/json/, [])
  docker.apiVersion = '1.99'
  await engine.list(signal)
  expect(docker.asked.at(-1)).toMatch(/^GET \/v1\.50\/containers\/json/)
  await openEvents(docker, engine)
  docker.apiVersion = '1.41'
  await docker.close()
  await told?.until('disconnected', ({ kind }) => kind === 'disconnected')
  await docker.listen()
  await told?.until('connected again', ({ kind }) => kind === 'connected', { from: 2 })
  await engine.list(signal)
  expect(docker.asked.at(-1)).toMatch(/^GET \/v1\.41\/containers\/json/)
})

test('a listing looks again only at containers that changed', async () => {
  const { docker, engine } = await start()
  const item = { Id: container, Labels: labels, State: 'running', Status: 'Up 3 minutes (healthy)' }
  docker.json(/\/containers\/json/, [item])
  docker.json(/c1\/json/, inspected('running', { Health: { Status: 'healthy' } }))
  const looks = (): number => docker.asked.filter((line) => line.includes('c1/json')).length
  expect(await engine.list(signal)).toMatchObject([{ health: 'healthy' }])
  await engine.list(signal)
  expect(looks()).toBe(1)
  docker.json(/\/containers\/json/, [{ ...item, Status: 'Up 4 minutes (unhealthy)' }])
  docker.json(/c1\/json/, inspected('running', { Health: { Status: 'unhealthy' } }))
  expect(await engine.list(signal)).toMatchObject([{ health: 'unhealthy' }])
  docker.json(/\/containers\/json/, [{ ...item, State: 'exited', Status: 'Exited (3) 1 second ago' }])
  docker.json(/c1\/json/, inspected('exited', { ExitCode: 3 }))
  expect(await engine.list(signal)).toMatchObject([{ state: 'exited', exitCode: 3 }])
  expect(looks()).toBe(3)
})

test('an answer that is cut short is an unavailable engine, not a wait for ever', async () => {
  const { docker, engine } = await start()
  docker.on(/\/containers\/json/, (_, response) => {
    response.writeHead(200, { 'Content-Length': '100' }).write('[')
    setImmediate(() => response.destroy())
  })
  const limit = AbortSignal.timeout(5_000)
  await expect(engine.list(limit)).rejects.toBeInstanceOf(EngineUnavailableError)
})

test('an engine that does not answer keeps a call only until its signal', async () => {
  const { docker, engine } = await start()
  docker.on(/\/containers\/json/, () => {})
  const stop = new AbortController()
  const call = engine.list(stop.signal)
  const reason = new Error('enough')
  stop.abort(reason)
  await expect(call).rejects.toBe(reason)
})

test('an image that is here is not pulled, also by its digest', async () => {
  const { docker, engine } = await start()
  const image = 'nginx:1@sha256:ab'
  docker.json(/\/images\/nginx:1@sha256:ab\/json/, {})
  await engine.prepare(taskSetup({ container: { Image: image } }), signal)
  expect(docker.asked).toHaveLength(2)
})

test('tasks that need one image at once share one pull', async () => {
  const { docker, engine } = await start()
  docker.json(/GET .*\/images\//, { message: 'No such image' }, 404)
  const pulled = Promise.withResolvers<ServerResponse>()
  docker.on(/images\/create/, (_, response) => pulled.resolve(response))
  const waits = [engine.prepare(setup, signal), engine.prepare(setup, signal)]
  const response = await pulled.promise
  response.writeHead(200)
  response.write('{"status":"Pulling"}\n')
  response.end('{"status":"Done"}\n')
  await Promise.all(waits)
  expect(docker.asked.filter((line) => line.startsWith('POST'))).toHaveLength(1)
})

test('a pull that the registry refuses rejects the task in the registry’s words', async () => {
  const { docker, engine } = await start()
  docker.json(/GET .*\/images\//, { message: 'No such image' }, 404)
  docker.on(/images\/create/, (_, response) =>
    response.end('{"status":"Pulling"}\n{"error":"e","errorDetail":{"message":"manifest unknown"}}\n'),
  )
  const refusal = engine.prepare(setup, signal)
  await expect(refusal).rejects.toBeInstanceOf(TaskRejectedError)
  await expect(refusal).rejects.toThrow('No such image: moot/test:1: manifest unknown')
})

test('a pull that breaks off is the engine’s failure, and the last waiter’s signal ends it', async () => {
  const { docker, engine } = await start()
  docker.json(/GET .*\/images\//, { message: 'No such image' }, 404)
  docker.on(/images\/create/, (_, response) => {
    response.write('{"status":"Pulling"}\n')
    setImmediate(() => response.destroy())
  })
  await expect(engine.prepare(setup, signal)).rejects.toBeInstanceOf(EngineUnavailableError)
  const closed = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  docker.on(/images\/create/, (_, response) => {
    response.write('{"status":"Pulling"}\n')
    response.on('close', () => closed.resolve())
    begun.resolve()
  })
  const stop = new AbortController()
  const wait = engine.prepare(setup, stop.signal)
  await begun.promise
  stop.abort(new Error('given up'))
  await expect(wait).rejects.toThrow('given up')
  await closed.promise
})

test('a container that an earlier, lost call made is found by its task', async () => {
  const { docker, engine } = await start()
  docker.json(/\/info/, {
    Name: 'h',
    OSType: 'linux',
    Architecture: 'x86_64',
    NCPU: 2,
    MemTotal: 1,
    ServerVersion: '20.10',
    Labels: ['zone=b', 'bare'],
    GenericResources: null,
    Plugins: { Log: ['json-file'], Volume: null },
    CgroupDriver: 'systemd',
    SecurityOptions: ['name=seccomp,profile=builtin', 'name=rootless'],
  })
  docker.json(/c1\/json/, inspected('created'))
  // The first listing is too early: the lost call lands between it and ours.
  let listings = 0
  docker.on(/\/containers\/json/, (_, response) => {
    listings++
    send(
      response,
      200,
      listings === 1 ? [] : [{ Id: container, Labels: labels, State: 'created', Status: '' }],
    )
  })
  docker.json(/containers\/create/, { message: 'Conflict. The container name is in use' }, 409)
  expect(await engine.create(setup, signal)).toMatchObject({ container, state: 'created' })
  expect(await engine.facts(signal)).toMatchObject({
    labels: { zone: 'b', bare: '' },
    plugins: [{ type: 'Log', name: 'json-file' }],
    nanoCpus: 2e9,
    cgroups: { driver: 'systemd', isRootless: true },
  })
})
