import type { NodeId, TaskId } from '@moot/crdt-state'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Forward, ForwardEndpoint } from '../../packages/agent/src/core/network/plane.ts'
import type { Forwarder } from '../../packages/agent/src/ports/forwarder.ts'
import { memoryStreamPair } from '../../packages/agent/src/ports/mesh.memory-stream.ts'
import type { ByteStream } from '../../packages/agent/src/ports/mesh.ts'

/** What all containers answer on. */
export const target = 18_000

export interface ForwarderBed {
  /** This agent's. */
  forwarder(): Forwarder
  /** This agent ends; another takes its place. */
  restart(): Promise<void>
  /** A container of this host; it says its name, and then all that it was told, once that is all. */
  container(name: string): Promise<ForwardEndpoint & { kind: 'local' }>
  /** Published here, and free before. */
  readonly port: number
  /** Undefined: refused, or broken off. */
  open(): Promise<Talk | undefined>
  close(): Promise<void>
}

export interface Talk {
  /** Resolves once somebody is at the other end: until then it may be led to anybody. */
  begun(): Promise<void>
  say(text: string): Promise<void>
  /** Says no more, and hears what is said until the other side has ended too. Undefined: broken off. */
  end(): Promise<string | undefined>
}

export const signal = new AbortController().signal

export function forwardTo(port: number, ...endpoints: readonly ForwardEndpoint[]): Forward {
  return { protocol: 'tcp', port, target, endpoints }
}

export function remote(name: string): ForwardEndpoint & { kind: 'remote' } {
  return { kind: 'remote', task: name as TaskId, node: 'other' as NodeId }
}

/** A container of another node, as its agent has it. */
export function farAway(name: string): ByteStream {
  const { near, far } = memoryStreamPair()
  void echo(name, far)
  return near
}

export async function echo(name: string, stream: ByteStream): Promise<void> {
  await stream.write(Buffer.from(`${name} `))
  let heard = ''
  for await (const chunk of stream.source) heard += Buffer.from(chunk).toString()
  await stream.write(Buffer.from(heard))
  await stream.closeWrite()
}

/** What every forwarder promises (design/network.md). */
export function forwarderSuite(name: string, bedOf: () => Promise<ForwarderBed>): void {
  describe(`a forwarder: ${name}`, () => {
    let bed: ForwarderBed
    beforeEach(async () => {
      bed = await bedOf()
    })
    afterEach(() => bed.close())

    const apply = (...forwards: readonly Forward[]): Promise<void> => bed.forwarder().apply(forwards, signal)
    const ask = async (text = 'hello'): Promise<string | undefined> => {
      const talk = await bed.open()
      await talk?.say(text)
      return talk?.end()
    }

    it('leads whoever comes to one who answers, and both may end before the other', async () => {
      await apply(forwardTo(bed.port, await bed.container('web1')))
      expect(await ask()).toBe('web1 hello')
    })

    it('refuses where nobody answers, and where nothing is published', async () => {
      expect(await ask()).toBeUndefined()
      await apply(forwardTo(bed.port))
      expect(await ask()).toBeUndefined()
    })

    it('once a change is applied each new connection goes by it; what is established stays', async () => {
      const [web1, web2] = [await bed.container('web1'), await bed.container('web2')]
      await apply(forwardTo(bed.port, web1))
      const talk = await bed.open()
      await talk?.begun()
      await talk?.say('still ')
      await apply(forwardTo(bed.port, web2))
      for (let turn = 0; turn < 8; turn += 1) expect(await ask()).toBe('web2 hello')
      await apply()
      expect(await ask()).toBeUndefined()
      await talk?.say('here')
      expect(await talk?.end()).toBe('web1 still here')
    })

    it('asks another where one refuses', async () => {
      const gone: ForwardEndpoint = { kind: 'local', task: 'gone' as TaskId, address: '127.88.9.9' }
      await apply(forwardTo(bed.port, gone, await bed.container('web1')))
      for (let turn = 0; turn < 8; turn += 1) expect(await ask()).toBe('web1 hello')
      await apply(forwardTo(bed.port, gone))
      expect(await ask()).toBeUndefined()
      expect(await bed.forwarder().counts(signal)).toMatchObject({ connections: 9, unanswered: 1 })
    })

    it('leads to tasks of other nodes by way of the agent, and says which port of which', async () => {
      const asked: unknown[] = []
      bed.forwarder().onRemote((node, to) => {
        asked.push([node, to])
        return Promise.resolve(farAway('web9'))
      })
      await apply(forwardTo(bed.port, remote('web9')))
      expect(await ask()).toBe('web9 hello')
      expect(asked).toEqual([['other', { task: 'web9', protocol: 'tcp', port: target }]])
    })

    it('asks another where a task of another node is not reached', async () => {
      bed.forwarder().onRemote(() => Promise.reject(new Error('it is away')))
      await apply(forwardTo(bed.port, remote('web9'), await bed.container('web1')))
      for (let turn = 0; turn < 4; turn += 1) expect(await ask()).toBe('web1 hello')
    })

    it('goes on for tasks of this host while its agent is away, and does as the next one says', async () => {
      const [web1, web2] = [await bed.container('web1'), await bed.container('web2')]
      await apply(forwardTo(bed.port, web1))
      const talk = await bed.open()
      await talk?.begun()
      await talk?.say('still here')
      await bed.restart()
      expect(await ask()).toBe('web1 hello')
      expect(await talk?.end()).toBe('web1 still here')
      await apply(forwardTo(bed.port, web2))
      expect(await ask()).toBe('web2 hello')
    })

    it('that is ended answers nobody, and can begin again', async () => {
      const web1 = await bed.container('web1')
      await apply(forwardTo(bed.port, web1))
      await bed.forwarder().end(signal)
      expect(await ask()).toBeUndefined()
      await bed.restart()
      await apply(forwardTo(bed.port, web1))
      expect(await ask()).toBe('web1 hello')
    })

    it('connects to a container of this host for another node', async () => {
      const { address } = await bed.container('web1')
      const stream = await bed.forwarder().connect('tcp', address, target, signal)
      await stream.write(Buffer.from('from afar'))
      await stream.closeWrite()
      let heard = ''
      for await (const chunk of stream.source) heard += Buffer.from(chunk).toString()
      expect(heard).toBe('web1 from afar')
      await expect(bed.forwarder().connect('tcp', '127.88.9.9', target, signal)).rejects.toThrow(
        /127\.88\.9\.9/,
      )
    })
  })
}
