import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { isTerminal, type NodeId, type ServiceId, type TaskEntry, type TaskId } from '@moot/crdt-state'
import type { ShownTask } from '../core/tasks-view.ts'
import { type Api, type Call, flag, param, type Route } from './call.ts'
import { compareVersions } from './engine/engine-client.ts'
import { ApiError, badRequest } from './errors.ts'
import { decodeFrames, decodeLines, encodeFrame, type LogFrame } from './log-frames.ts'
import { serviceOf } from './services.ts'
import { taskOf } from './tasks.ts'
import { tasksOfService } from './task-view.ts'

/** A task whose container's log can be read: it is on a node and has, or had, a container. */
interface LoggedTask {
  readonly node: NodeId
  readonly task: TaskEntry
}

interface LogOptions {
  readonly follow: boolean
  readonly details: boolean
  readonly timestamps: boolean
  readonly tty: boolean
  /** What the engines are asked; without `details`, which are ours to add. */
  readonly query: URLSearchParams
}

function logged(shown: ShownTask | { readonly node: NodeId; readonly task: TaskEntry }): LoggedTask[] {
  return shown.node === undefined || shown.task.containerId === undefined
    ? []
    : [{ node: shown.node, task: shown.task }]
}

function readOptions(call: Call, tty: boolean): LogOptions {
  const { query } = call
  if (!flag(query, 'stdout') && !flag(query, 'stderr')) {
    throw badRequest('Bad parameters: you must choose at least one stream')
  }
  const tail = query.get('tail') ?? 'all'
  if (!/^(all|\d*)$/.test(tail)) throw badRequest(`invalid tail "${tail}": give a number of lines, or all`)
  const asked = new URLSearchParams()
  for (const name of ['stdout', 'stderr', 'timestamps', 'follow', 'since', 'until', 'tail']) {
    const value = query.get(name)
    if (value !== null && value !== '') asked.set(name, value)
  }
  return {
    follow: flag(query, 'follow'),
    details: flag(query, 'details'),
    timestamps: flag(query, 'timestamps'),
    tty,
    query: asked,
  }
}

async function serviceLogs(api: Api, call: Call): Promise<void> {
  const service = serviceOf(api, param(call, 'id'))
  const id = service.id as ServiceId
  const options = readOptions(call, service.spec.TaskTemplate.ContainerSpec.TTY ?? false)
  await send(api, call, options, () => tasksOfService(api, id).flatMap(logged), id)
}

async function taskLogs(api: Api, call: Call): Promise<void> {
  const found = taskOf(api, param(call, 'id'))
  const service = api.cluster.view().services.get(found.task.service)
  const options = readOptions(call, service?.spec.TaskTemplate.ContainerSpec.TTY ?? false)
  const [only] = logged(found)
  if (only === undefined) {
    throw new ApiError(404, `task ${found.task.id} has no container yet (it is ${found.task.state}): no logs`)
  }
  await send(api, call, options, () => [only], undefined)
}

/**
 * All tasks' logs in one answer, frame by frame as they come. `follow` also reads tasks that appear later. Memory is
 * bounded: a task's next chunk is read only once the client took the last one.
 */
async function send(
  api: Api,
  call: Call,
  options: LogOptions,
  tasks: () => readonly LoggedTask[],
  followed: ServiceId | undefined,
): Promise<void> {
  const { res } = call
  const raw = options.tty || compareVersions(call.version ?? api.engine.apiVersion(), '1.42') < 0
  res.writeHead(200, {
    'Content-Type': `application/vnd.docker.${raw ? 'raw' : 'multiplexed'}-stream`,
  })
  res.flushHeaders()
  const writer = frameWriter(res, options)
  const started = new Set<TaskId>()
  const running = new Set<Promise<void>>()
  const waiting: { readonly of: LoggedTask; readonly query: URLSearchParams }[] = []
  const next = (): void => {
    while (running.size < api.settings.apiLogStreams) {
      const entry = waiting.shift()
      if (entry === undefined) return
      const copying = copyLog(api, call, options, entry.of, entry.query, writer).finally(() => {
        running.delete(copying)
        next()
      })
      running.add(copying)
    }
  }
  const begin = (of: LoggedTask, query: URLSearchParams): void => {
    if (started.has(of.task.id)) return
    started.add(of.task.id)
    waiting.push({ of, query })
    next()
  }
  // Lines of a task that appears later are all new, whatever tail the reader wanted of the others.
  const later = new URLSearchParams(options.query)
  later.delete('tail')
  const unsubscribe =
    options.follow && followed !== undefined
      ? api.cluster.subscribe((event) => {
          if (event.kind !== 'task' || event.after?.service !== followed) return
          for (const of of logged({ node: event.node, task: event.after })) begin(of, later)
        })
      : (): void => undefined
  try {
    for (const of of tasks()) begin(of, options.query)
    while (running.size > 0) await Promise.allSettled(running)
    if (options.follow && followed !== undefined && !call.signal.aborted) await once(call.signal, 'abort')
    res.end()
  } finally {
    unsubscribe()
  }
}

/** Reads one task's log to its end; while following, again if its node could not be reached for a while. */
async function copyLog(
  api: Api,
  call: Call,
  options: LogOptions,
  { node, task }: LoggedTask,
  query: URLSearchParams,
  writer: FrameWriter,
): Promise<void> {
  const context = { node, service: task.service, task: task.id }
  let asked = query
  for (;;) {
    try {
      const bytes = await api.cluster.logs({ node, id: task.id }, asked, call.signal)
      await copyBytes(bytes, options, context, writer, api.settings.apiMaxLogFrameBytes)
      return
    } catch (error) {
      if (call.signal.aborted) return
      call.log.debug({ err: error, task: task.id }, 'reading a log failed')
      const why = error instanceof Error ? error.message : String(error)
      await writer.note(context, `error from ${task.id}: ${why}`)
    }
    if (!options.follow) return
    await delay(api.settings.engineRetryMs * 5, undefined, { signal: call.signal }).catch(() => undefined)
    const now = api.cluster.state().kind === 'active' ? tasksOfService(api, task.service) : []
    const still = now.find((shown) => shown.task.id === task.id)
    if (call.signal.aborted || still === undefined || isTerminal(still.task.state)) return
    asked = new URLSearchParams(query)
    asked.set('tail', '0')
  }
}

async function copyBytes(
  bytes: AsyncIterable<Uint8Array>,
  options: LogOptions,
  context: LogContext,
  writer: FrameWriter,
  maxFrameBytes: number,
): Promise<void> {
  if (options.tty) {
    for await (const line of decodeLines(bytes, maxFrameBytes)) await writer.line(context, line)
    return
  }
  for await (const frame of decodeFrames(bytes, maxFrameBytes)) await writer.frame(context, frame)
}

interface LogContext {
  readonly node: NodeId
  readonly service: ServiceId
  readonly task: TaskId
}

interface FrameWriter {
  frame(context: LogContext, frame: LogFrame): Promise<void>
  line(context: LogContext, line: Buffer): Promise<void>
  /** What Moot itself has to say about this log. */
  note(context: LogContext, text: string): Promise<void>
}

function frameWriter(res: ServerResponse, options: LogOptions): FrameWriter {
  let draining: Promise<void> | undefined
  const write = async (bytes: Buffer): Promise<void> => {
    if (res.destroyed || res.writableEnded) return
    if (res.write(bytes)) return
    // One listener for all tasks that wait.
    draining ??= new Promise<void>((resolve) => {
      const done = (): void => {
        draining = undefined
        res.off('drain', done)
        res.off('close', done)
        resolve()
      }
      res.once('drain', done)
      res.once('close', done)
    })
    await draining
  }
  const withDetails = (context: LogContext, payload: Buffer): Buffer => {
    if (!options.details) return payload
    const details = Buffer.from(
      `com.docker.swarm.node.id=${context.node},com.docker.swarm.service.id=${context.service},com.docker.swarm.task.id=${context.task} `,
    )
    // Docker's order is timestamp, details, line (moby `api/server/httputils/write_log_stream.go`).
    const space = options.timestamps ? payload.indexOf(32) + 1 : 0
    return Buffer.concat([payload.subarray(0, space), details, payload.subarray(space)])
  }
  const frame = (context: LogContext, { stream, payload }: LogFrame): Promise<void> =>
    write(encodeFrame({ stream, payload: withDetails(context, payload) }))
  const line = (context: LogContext, text: Buffer): Promise<void> => write(withDetails(context, text))
  return {
    frame,
    line,
    note(context, text) {
      const at = options.timestamps ? `${new Date().toISOString().replace('Z', '000000Z')} ` : ''
      const payload = Buffer.from(`${at}${text}\n`)
      if (options.tty) return line(context, payload)
      return frame(context, { stream: flag(options.query, 'stderr') ? 2 : 1, payload })
    },
  }
}

export const logRoutes: readonly Route[] = [
  { method: 'GET', path: '/services/:id/logs', handler: serviceLogs, streams: true },
  { method: 'GET', path: '/tasks/:id/logs', handler: taskLogs, streams: true },
]
