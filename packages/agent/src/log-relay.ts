import type { NodeId, TaskId } from '@moot/crdt-state'
import * as z from 'zod'
import type { ByteStream, Mesh } from './ports/mesh.ts'
import { jsonLine, readLine } from './stream-header.ts'

/**
 * A task's log bytes from another node. The asker writes one line of JSON; the holder answers with one line of JSON
 * (an error, or none), and then with Docker's own bytes until either side ends.
 */
const requestSchema = z.object({ task: z.string().max(64), query: z.string().max(4096) })
const answerSchema = z.object({ error: z.string().optional() })

export class LogsUnavailableError extends Error {
  readonly code = 'ERR_LOGS_UNAVAILABLE'
  override name = 'LogsUnavailableError'
}

export type LocalLogs = (
  task: TaskId,
  query: URLSearchParams,
  signal: AbortSignal,
) => Promise<AsyncIterable<Uint8Array>>

/** Answers other members' requests for logs of tasks on this node. */
export function serveLogs(mesh: Mesh, localLogs: LocalLogs, failed: (error: unknown) => void): () => void {
  return mesh.onStream('logs', (_from, stream) => {
    answer(stream, localLogs).catch((error: unknown) => {
      stream.abort(error instanceof Error ? error : new Error(String(error)))
      failed(error)
    })
  })
}

async function answer(stream: ByteStream, localLogs: LocalLogs): Promise<void> {
  const { line, rest } = await readLine(stream.source, unavailable)
  const request = requestSchema.parse(JSON.parse(line))
  const abort = new AbortController()
  let bytes: AsyncIterable<Uint8Array>
  try {
    bytes = await localLogs(request.task as TaskId, new URLSearchParams(request.query), abort.signal)
  } catch (error) {
    await stream.write(jsonLine({ error: error instanceof Error ? error.message : String(error) }))
    return stream.closeWrite()
  }
  await stream.write(jsonLine({}))
  // The asker says nothing more: the end of its side, in whatever way, means that it no longer listens.
  const watched = (async () => {
    for await (const _ of rest);
  })()
    .catch(() => undefined)
    .finally(() => abort.abort(new Error('the reader went away')))
  try {
    for await (const chunk of bytes) await stream.write(chunk)
    await stream.closeWrite()
  } finally {
    abort.abort(new Error('the log ended'))
  }
  await watched
}

/** Opens the log of a task on another node; the stream ends when aborted. */
export async function fetchLogs(
  mesh: Mesh,
  task: { readonly node: NodeId; readonly id: TaskId },
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const stream = await mesh.openStream(task.node, 'logs', signal)
  const abort = (): void => stream.abort(new Error('the reader went away'))
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  const end = (): void => {
    signal.removeEventListener('abort', abort)
    // Ours is still half open, and the holder waits for it.
    abort()
  }
  try {
    await stream.write(jsonLine({ task: task.id, query: query.toString() }))
    const { line, rest } = await readLine(stream.source, unavailable)
    const { error } = answerIn(line)
    if (error === undefined) return untilEnd(rest, end)
    throw new LogsUnavailableError(`logs of task ${task.id} on node ${task.node}: ${error}`)
  } catch (error) {
    end()
    throw error
  }
}

function answerIn(line: string): z.infer<typeof answerSchema> {
  try {
    return answerSchema.parse(JSON.parse(line))
  } catch {
    throw new LogsUnavailableError(
      'the other node answered with something unreadable: check that both agents are of one release',
    )
  }
}

function unavailable(why: string): Error {
  return new LogsUnavailableError(why)
}

/** Whoever reads to the end, or gives up on the way, leaves nothing open. */
async function* untilEnd(source: AsyncIterable<Uint8Array>, end: () => void): AsyncGenerator<Uint8Array> {
  try {
    yield* source
  } finally {
    end()
  }
}
