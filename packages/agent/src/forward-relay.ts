import type { NodeId, TaskId } from '@moot/crdt-state'
import * as z from 'zod'
import type { Address, TaskPort } from './core/network/plane.ts'
import type { Defaults } from './defaults.ts'
import { type Clock, withinTime } from './ports/clock.ts'
import type { Forwarder, OpenRemote } from './ports/forwarder.ts'
import type { ByteStream, Mesh } from './ports/mesh.ts'
import { jsonLine, readLine } from './stream-header.ts'
import { joinStreams } from './stream-join.ts'

/**
 * A published port's connections to tasks of other nodes, over the mesh. The asker writes one line of JSON, which task and which of its ports; the holder
 * connects to its own container, never to another node, and answers with one line (an error, or none); then both pass on what comes.
 */
const requestSchema = z.object({
  task: z.string().max(64),
  protocol: z.enum(['tcp', 'udp']),
  port: z.int().min(1).max(65_535),
})
const answerSchema = z.object({ error: z.string().optional() })

export class TaskUnreachableError extends Error {
  readonly code = 'ERR_TASK_UNREACHABLE'
  override name = 'TaskUnreachableError'
}

export interface ForwardRelayOptions {
  readonly mesh: Pick<Mesh, 'openStream' | 'onStream'>
  readonly forwarder: Pick<Forwarder, 'connect'>
  /** Where this host reaches a port of one of its tasks; undefined: there is no such task here, or its service does not publish that port. */
  readonly addressOf: (to: TaskPort) => Address | undefined
  readonly clock: Clock
  readonly settings: Pick<Defaults, 'forwarderConnectTimeoutMs' | 'forwarderStreamsPerPeer'>
}

/** Answers other members' requests for tasks of this node. */
export function serveForwards(options: ForwardRelayOptions): () => void {
  const { mesh, clock, settings } = options
  const stopping = new AbortController()
  const off = mesh.onStream('forward', (_from, stream) => {
    const abort = (): void => stream.abort(new Error('the agent stops'))
    stopping.signal.addEventListener('abort', abort, { once: true })
    withinTime(clock, settings.forwarderConnectTimeoutMs, stopping.signal, (signal) =>
      orAborted(stream, signal, () => accept(options, stream, signal)),
    )
      .then((opened) => opened && joinStreams(opened.asker, opened.container))
      .catch((error: unknown) => stream.abort(error instanceof Error ? error : new Error(String(error))))
      .finally(() => stopping.signal.removeEventListener('abort', abort))
  })
  return () => {
    off()
    stopping.abort(new Error('the agent stops'))
  }
}

async function accept(
  { forwarder, addressOf }: ForwardRelayOptions,
  stream: ByteStream,
  signal: AbortSignal,
): Promise<{ readonly asker: ByteStream; readonly container: ByteStream } | undefined> {
  const { line, rest } = await readLine(stream.source, unreachable)
  const { task, protocol, port } = requestSchema.parse(JSON.parse(line))
  try {
    const address = addressOf({ task: task as TaskId, protocol, port })
    if (address === undefined) throw unreachable('this node has no such task')
    const container = await forwarder.connect(protocol, address, port, signal)
    await stream.write(jsonLine({}))
    return { asker: { ...bare(stream), source: rest }, container }
  } catch (error) {
    await stream.write(jsonLine({ error: error instanceof Error ? error.message : String(error) }))
    await stream.closeWrite()
    return undefined
  }
}

/** The way to tasks of other nodes. So many at a time to one of them, that other streams to it (logs) find room. */
export function openForwards({
  mesh,
  clock,
  settings,
}: Pick<ForwardRelayOptions, 'mesh' | 'clock' | 'settings'>): OpenRemote {
  const open = new Map<NodeId, number>()
  const giveBack = (node: NodeId): void => {
    const left = (open.get(node) ?? 1) - 1
    if (left > 0) open.set(node, left)
    else open.delete(node)
  }
  return async (node, to, signal) => {
    const count = open.get(node) ?? 0
    if (count >= settings.forwarderStreamsPerPeer)
      throw unreachable(`${count} connections to node ${node} are open: no more at a time`)
    open.set(node, count + 1)
    try {
      const stream = await withinTime(clock, settings.forwarderConnectTimeoutMs, signal, (bound) =>
        request(mesh, node, to, bound),
      )
      return counted(stream, () => giveBack(node))
    } catch (error) {
      giveBack(node)
      throw error
    }
  }
}

async function request(
  mesh: Pick<Mesh, 'openStream'>,
  node: NodeId,
  { task, protocol, port }: TaskPort,
  signal: AbortSignal,
): Promise<ByteStream> {
  const stream = await mesh.openStream(node, 'forward', signal)
  return orAborted(stream, signal, async () => {
    await stream.write(jsonLine({ task, protocol, port }))
    const { line, rest } = await readLine(stream.source, unreachable)
    const { error } = answerSchema.parse(JSON.parse(line))
    if (error !== undefined) throw unreachable(`task ${task} on node ${node}: ${error}`)
    return { ...bare(stream), source: rest }
  })
}

/** Whatever it waits for, the stream is aborted with the signal, and where the work fails. */
async function orAborted<T>(stream: ByteStream, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const abort = (): void => stream.abort(new Error('given up'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    signal.throwIfAborted()
    return await work()
  } catch (error) {
    abort()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** `over` is called once, when both sides have ended or it broke. */
function counted(stream: ByteStream, over: () => void): ByteStream {
  let halves = 2
  const half = (): void => {
    halves -= 1
    if (halves === 0) over()
  }
  const broken = (): void => {
    if (halves > 0) over()
    halves = 0
  }
  return {
    source: untilEnd(stream.source, half, broken),
    write: (chunk) => stream.write(chunk),
    async closeWrite() {
      await stream.closeWrite()
      half()
    },
    abort(error) {
      broken()
      stream.abort(error)
    },
  }
}

async function* untilEnd(
  source: AsyncIterable<Uint8Array>,
  ended: () => void,
  broken: () => void,
): AsyncGenerator<Uint8Array> {
  try {
    yield* source
  } catch (error) {
    broken()
    throw error
  }
  ended()
}

/** A stream's methods without its source, which a header was read from. */
function bare(stream: ByteStream): Omit<ByteStream, 'source'> {
  return {
    write: (chunk) => stream.write(chunk),
    closeWrite: () => stream.closeWrite(),
    abort: (error) => stream.abort(error),
  }
}

function unreachable(why: string): Error {
  return new TaskUnreachableError(why)
}
