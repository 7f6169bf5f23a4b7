import type { NodeId, TaskId } from '@moot/crdt-state'
import { beforeEach, describe, expect, it } from 'vitest'
import { fetchLogs, serveLogs } from './log-relay.ts'
import { memoryNetwork } from './ports/mesh.memory.ts'
import type { Mesh } from './ports/mesh.ts'

const holder = 'h'.repeat(25) as NodeId
const asker = 'a'.repeat(25) as NodeId
const task = { node: holder, id: 't'.repeat(25) as TaskId }
const settled = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })
const text = (chunk: string): Uint8Array => new TextEncoder().encode(chunk)

describe('logs from another node', () => {
  let meshes: Record<'holder' | 'asker', Mesh>
  /** Streams that the asker opened and neither side has ended for good. */
  let open: Set<object>

  beforeEach(async () => {
    const network = memoryNetwork({})
    const gate = {
      member: () => true,
      farewell: () => undefined,
      introduction: () => undefined,
      introduced: () => false,
    }
    meshes = { holder: network.mesh(holder, { gate }), asker: network.mesh(asker, { gate }) }
    for (const mesh of Object.values(meshes)) await mesh.start()
    meshes.asker.setMembers(new Map([[holder, [`/memory/${holder}`]]]))
    meshes.holder.setMembers(new Map([[asker, [`/memory/${asker}`]]]))
    await settled()
    open = new Set()
    const openStream = meshes.asker.openStream.bind(meshes.asker)
    meshes.asker.openStream = async (...args) => {
      const stream = await openStream(...args)
      const abort = stream.abort.bind(stream)
      open.add(stream)
      return Object.assign(stream, {
        abort(error: Error) {
          open.delete(stream)
          abort(error)
        },
      })
    }
  })

  async function read(source: AsyncIterable<Uint8Array>): Promise<string> {
    let all = ''
    for await (const chunk of source) all += new TextDecoder().decode(chunk)
    return all
  }
  const fetch = (signal = new AbortController().signal): Promise<AsyncIterable<Uint8Array>> =>
    fetchLogs(meshes.asker, task, new URLSearchParams('stdout=1'), signal)
  function serve(logs: (signal: AbortSignal) => AsyncIterable<Uint8Array>): { ended: boolean } {
    const served = { ended: false }
    serveLogs(
      meshes.holder,
      async (_id, _query, signal) => {
        signal.addEventListener('abort', () => (served.ended = true))
        return logs(signal)
      },
      () => undefined,
    )
    return served
  }

  it('are read to their end, and nothing stays open', async () => {
    const served = serve(async function* () {
      yield text('one ')
      yield text('two')
    })
    expect(await read(await fetch())).toBe('one two')
    await settled()
    expect(open.size).toBe(0)
    expect(served.ended).toBe(true)
  })

  it('that are refused say why, and nothing stays open', async () => {
    serveLogs(
      meshes.holder,
      () => Promise.reject(new Error('no such container')),
      () => undefined,
    )
    await expect(fetch()).rejects.toThrow(/no such container/)
    expect(open.size).toBe(0)
  })

  it.each(['the reader stops reading', 'the client goes away'])('end at their node when %s', async (how) => {
    const served = serve(async function* (signal) {
      yield text('line')
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve())
      })
    })
    const client = new AbortController()
    const lines = (await fetch(client.signal))[Symbol.asyncIterator]()
    await lines.next()
    if (how === 'the client goes away') client.abort(new Error('gone'))
    else await lines.return?.()
    await settled()
    expect(served.ended).toBe(true)
    expect(open.size).toBe(0)
  })
})
