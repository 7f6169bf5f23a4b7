import type { NodeId, TaskId } from '@moot/crdt-state'
import { anyText } from '@moot/crdt-state/testing/any-text'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fetchLogs, LogsUnavailableError, serveLogs } from './log-relay.ts'
import type { ByteStream, Mesh } from './ports/mesh.ts'

const task = { node: 'h'.repeat(25) as NodeId, id: 't'.repeat(25) as TaskId }
const chunks = fc.array(fc.uint8Array({ maxLength: 12 }), { maxLength: 6 })

/** A stream that gives these bytes, in these pieces, and keeps what is written to it. */
function streamOf(pieces: readonly Uint8Array[]): {
  readonly stream: ByteStream
  readonly written: Uint8Array[]
} {
  const written: Uint8Array[] = []
  const stream: ByteStream = {
    source: (async function* () {
      yield* pieces
    })(),
    write: async (chunk) => {
      written.push(chunk)
    },
    closeWrite: async () => undefined,
    abort: () => undefined,
  }
  return { stream, written }
}

/** The same bytes, cut anywhere: a stream keeps no borders. */
function cut(bytes: Uint8Array, at: readonly number[]): readonly Uint8Array[] {
  const borders = [...new Set([0, ...at.map((each) => each % (bytes.length + 1)), bytes.length])].sort(
    (a, b) => a - b,
  )
  return borders.slice(1).map((end, index) => bytes.subarray(borders[index], end))
}

async function asked(
  pieces: readonly Uint8Array[],
  query: URLSearchParams,
): Promise<{ read: Buffer; request: Uint8Array }> {
  const { stream, written } = streamOf(pieces)
  const mesh = { openStream: async () => stream } as unknown as Mesh
  const source = await fetchLogs(mesh, task, query, new AbortController().signal)
  const read: Uint8Array[] = []
  for await (const chunk of source) read.push(chunk)
  return { read: Buffer.concat(read), request: Buffer.concat(written) }
}

async function served(
  pieces: readonly Uint8Array[],
  logs: (id: string, query: string) => readonly Uint8Array[],
): Promise<{ readonly bytes: Buffer; readonly failed: unknown }> {
  const { stream, written } = streamOf(pieces)
  const done = Promise.withResolvers<unknown>()
  const mesh = {
    onStream: (_: string, handler: (from: NodeId, stream: ByteStream) => void) => {
      handler(task.node, { ...stream, closeWrite: async () => done.resolve(undefined) })
      return () => undefined
    },
  } as unknown as Mesh
  const local = async (id: TaskId, query: URLSearchParams): Promise<AsyncIterable<Uint8Array>> => {
    const found = logs(id, query.toString())
    return (async function* () {
      yield* found
    })()
  }
  serveLogs(mesh, local, (error) => done.resolve(error))
  return { failed: await done.promise, bytes: Buffer.concat(written) }
}

describe('a log from another node', () => {
  const cuts = fc.array(fc.nat(), { maxLength: 4 })
  const query = fc.dictionary(anyText(4), anyText(4), {
    maxKeys: 3,
  })

  test('is what its holder gave, for the task and the query that were asked, wherever the stream cuts', async () => {
    await fc.assert(
      fc.asyncProperty(query, chunks, cuts, cuts, async (parameters, log, there, back) => {
        const asking = new URLSearchParams(Object.entries(parameters))
        // What is asked does not depend on the answer.
        const { request } = await asked([Buffer.from('{}\n')], asking)
        const heard: string[] = []
        const { bytes, failed } = await served(cut(request, there), (...of) => {
          heard.push(...of)
          return log
        })
        expect(failed).toBeUndefined()
        expect(heard).toEqual([task.id, asking.toString()])
        expect((await asked(cut(bytes, back), asking)).read).toEqual(Buffer.concat(log))
      }),
      { numRuns: 100 },
    )
  })

  test('that cannot be had says so, whatever comes instead', async () => {
    const noise = fc.oneof(
      chunks,
      fc.json().map((text) => [Buffer.from(`${text}\n`)]),
      fc.string().map((error) => [Buffer.from(`${JSON.stringify({ error })}\n`)]),
      fc.constant([Buffer.alloc(20_000, 'x')]),
    )
    await fc.assert(
      fc.asyncProperty(noise, async (pieces) => {
        const outcome = await asked(pieces, new URLSearchParams()).catch((error: unknown) => error)
        const isLog = !(outcome instanceof Error)
        expect(isLog || outcome instanceof LogsUnavailableError).toBe(true)
        // Whoever asks for garbage is told nothing, and the holder goes on.
        const { bytes, failed } = await served(pieces, () => [])
        expect(failed).toBeInstanceOf(Error)
        expect(bytes).toHaveLength(0)
      }),
      { numRuns: 150 },
    )
  })
})
