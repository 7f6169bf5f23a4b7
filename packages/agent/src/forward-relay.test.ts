import type { NodeId, TaskId } from '@moot/crdt-state'
import { beforeEach, describe, expect, it } from 'vitest'
import { defaults } from './defaults.ts'
import { openForwards, serveForwards } from './forward-relay.ts'
import { memoryClock } from './ports/clock.memory.ts'
import { memoryForwarder } from './ports/forwarder.memory.ts'
import type { OpenRemote } from './ports/forwarder.ts'
import { memoryNetwork } from './ports/mesh.memory.ts'
import type { ByteStream, Mesh } from './ports/mesh.ts'

const holder = 'h'.repeat(25) as NodeId
const asker = 'a'.repeat(25) as NodeId
const to = { task: 't'.repeat(25) as TaskId, protocol: 'tcp', port: 80 } as const
const address = '172.17.0.2'
const signal = new AbortController().signal

describe('a connection to a task of another node', () => {
  const clock = memoryClock()
  let meshes: Record<'holder' | 'asker', Mesh>
  let open: OpenRemote
  let forwarder: ReturnType<typeof memoryForwarder>
  let stop: () => void

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
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    forwarder = memoryForwarder()
    const settings = { ...defaults, forwarderStreamsPerPeer: 2 }
    open = openForwards({ mesh: meshes.asker, clock, settings })
    stop = serveForwards({
      mesh: meshes.holder,
      forwarder,
      addressOf: ({ port }) => (port === to.port ? address : undefined),
      clock,
      settings,
    })
  })

  async function hear(stream: ByteStream): Promise<string> {
    let heard = ''
    for await (const chunk of stream.source) heard += new TextDecoder().decode(chunk)
    return heard
  }
  function echoes(): void {
    forwarder.answer(address, to.port, (stream) => {
      const answer = async (): Promise<void> => {
        await stream.write(Buffer.from(`heard ${await hear(stream)}`))
        await stream.closeWrite()
      }
      // It may be broken off.
      answer().catch(() => undefined)
    })
  }

  it('is made by its holder, and each side may end before the other', async () => {
    echoes()
    const stream = await open(holder, to, signal)
    await stream.write(Buffer.from('hello'))
    await stream.closeWrite()
    expect(await hear(stream)).toBe('heard hello')
  })

  it('is refused with the reason where nobody answers, or there is no such task', async () => {
    await expect(open(holder, to, signal)).rejects.toThrow(/nobody answers at 172\.17\.0\.2:80/)
    await expect(open(holder, { ...to, port: 22 }, signal)).rejects.toThrow(/this node has no such task/)
    await expect(open('x'.repeat(25) as NodeId, to, signal)).rejects.toThrow(/cannot be reached/)
  })

  it('there are so many to one node at a time, and those that have ended make room', async () => {
    echoes()
    const streams = [await open(holder, to, signal), await open(holder, to, signal)]
    await expect(open(holder, to, signal)).rejects.toThrow(/2 connections to node/)
    await streams[0]?.closeWrite()
    expect(await hear(streams[0]!)).toBe('heard ')
    streams.push(await open(holder, to, signal))
    streams[1]?.abort(new Error('broken'))
    await open(holder, to, signal)
    await expect(open(holder, to, signal)).rejects.toThrow(/2 connections to node/)
    await expect(open(holder, { ...to, port: 22 }, signal)).rejects.toThrow(/2 connections to node/)
  })

  it('breaks on both sides where it breaks on one', async () => {
    const there = Promise.withResolvers<ByteStream>()
    forwarder.answer(address, to.port, there.resolve)
    const stream = await open(holder, to, signal)
    const heard = hear(await there.promise)
    stream.abort(new Error('broken'))
    await expect(heard).rejects.toThrow('broken')
  })

  it('ends with the agent that holds the task', async () => {
    const there = Promise.withResolvers<ByteStream>()
    forwarder.answer(address, to.port, there.resolve)
    const stream = await open(holder, to, signal)
    const heard = hear(stream)
    await there.promise
    stop()
    await expect(heard).rejects.toThrow('the agent stops')
  })

  it('is given up where the holder says nothing', async () => {
    forwarder.connect = () => new Promise(() => undefined)
    const asked = open(holder, to, signal)
    const [failed] = await Promise.allSettled([asked, clock.advance(defaults.forwarderConnectTimeoutMs + 1)])
    expect(failed.status).toBe('rejected')
  })
})
