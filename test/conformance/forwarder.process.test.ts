import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { TaskId } from '@moot/crdt-state'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Forward, ForwardEndpoint } from '../../packages/agent/src/core/network/plane.ts'
import { memoryStreamPair } from '../../packages/agent/src/ports/mesh.memory-stream.ts'
import { type ProcessBed, processBed } from './forwarder.bed.ts'
import { farAway, forwardTo, remote, signal, target } from './forwarder.suite.ts'
import { isAlive } from './processes.ts'

describe('the forwarder’s process', () => {
  let bed: ProcessBed
  const closers: (() => void)[] = []
  beforeEach(async () => {
    bed = await processBed()
  })
  afterEach(async () => {
    for (const close of closers.splice(0)) close()
    await bed.close()
  })

  const apply = (...forwards: readonly Forward[]): Promise<void> => bed.forwarder().apply(forwards, signal)
  const ask = async (): Promise<string | undefined> => {
    const talk = await bed.open()
    await talk?.say('hello')
    return talk?.end()
  }
  const until = async (what: () => Promise<boolean> | boolean, withinMs: number): Promise<void> => {
    const atMs = performance.now() + withinMs
    while (!(await what()) && performance.now() < atMs) await delay(10)
  }

  /** A container that does with each connection what the test says. */
  async function serving(address: string, serve: (socket: Socket) => void): Promise<ForwardEndpoint> {
    const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
      // It may be broken off at the end of a test.
      socket.on('error', () => undefined)
      serve(socket)
    })
    server.listen(target, address)
    await once(server, 'listening')
    closers.push(() => server.close())
    return { kind: 'local', task: address as TaskId, address }
  }

  /** A container that answers datagrams with its name. */
  async function answering(name: string, address: string): Promise<ForwardEndpoint> {
    const socket = createSocket('udp4')
    socket.on('message', (message, from) =>
      socket.send(`${name} ${message.toString()}`, from.port, from.address),
    )
    socket.bind(target, address)
    await once(socket, 'listening')
    closers.push(() => socket.close())
    return { kind: 'local', task: name as TaskId, address }
  }

  /** One client of UDP, which has a port of its own. */
  async function client(): Promise<(text: string) => Promise<string | undefined>> {
    const socket = createSocket('udp4')
    socket.bind()
    await once(socket, 'listening')
    closers.push(() => socket.close())
    return async (text) => {
      const heard = Promise.withResolvers<string | undefined>()
      socket.once('message', (message) => heard.resolve(message.toString()))
      socket.send(text, bed.port, '127.0.0.1')
      return Promise.race([heard.promise, delay(500, undefined)])
    }
  }

  const udp = (...endpoints: readonly ForwardEndpoint[]): Forward => ({
    ...forwardTo(bed.port, ...endpoints),
    protocol: 'udp',
  })

  it('shares connections out among all who answer', async () => {
    await apply(
      forwardTo(
        bed.port,
        await bed.container('web1'),
        await bed.container('web2'),
        await bed.container('web3'),
      ),
    )
    const answers = await Promise.all(Array.from({ length: 90 }, ask))
    const counts = ['web1', 'web2', 'web3'].map(
      (name) => answers.filter((answer) => answer === `${name} hello`).length,
    )
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(90)
    for (const count of counts) expect(count).toBeGreaterThan(10)
  })

  it.each(['here', 'on another node'])(
    'passes on to a task %s no faster than it takes it, and loses no byte',
    async (where) => {
      const bytes = 32 * 1024 * 1024
      const received = Promise.withResolvers<number>()
      let isPaused = false
      const slow = await serving('127.88.0.1', (socket) => {
        let count = 0
        socket.pause()
        setTimeout(() => {
          isPaused = true
          socket.resume()
        }, 500)
        socket.on('data', (chunk) => (count += chunk.length))
        socket.on('end', () => {
          received.resolve(count)
          socket.end()
        })
      })
      bed
        .forwarder()
        .onRemote((_node, _to, signal) => bed.forwarder().connect('tcp', '127.88.0.1', target, signal))
      await apply(forwardTo(bed.port, where === 'here' ? slow : remote('web9')))
      const socket = connect(bed.port, '127.0.0.1').resume()
      socket.on('error', () => undefined)
      const chunk = Buffer.alloc(64 * 1024)
      for (let sent = 0; sent < bytes; sent += chunk.length) {
        if (!socket.write(chunk)) await once(socket, 'drain')
      }
      // More than all buffers on the way hold: it was read from by then.
      expect(isPaused).toBe(true)
      socket.end()
      expect(await received.promise).toBe(bytes)
    },
  )

  it('a connection that breaks on one side is broken on the other: what was cut off does not pass for whole', async () => {
    const outcomes: Promise<string>[] = []
    const outcomeOf = (socket: Socket): Promise<string> =>
      new Promise((resolve) => {
        socket.on('end', () => resolve('ended'))
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'failed'))
        socket.resume()
      })
    const endpoint = await serving('127.88.0.1', (socket) => {
      socket.write('so far')
      outcomes.push(outcomeOf(socket))
    })
    bed
      .forwarder()
      .onRemote((_node, _to, signal) => bed.forwarder().connect('tcp', '127.88.0.1', target, signal))
    for (const through of [endpoint, remote('web9')]) {
      await apply(forwardTo(bed.port, through))
      const socket = connect(bed.port, '127.0.0.1')
      await once(socket, 'data')
      socket.resetAndDestroy()
      await until(() => outcomes.length > 0, 1_000)
      expect(await outcomes.pop()).toBe('ECONNRESET')
    }
    const breaking = await serving('127.88.0.2', (socket) => setTimeout(() => socket.resetAndDestroy(), 50))
    await apply(forwardTo(bed.port, breaking))
    expect(await outcomeOf(connect(bed.port, '127.0.0.1'))).toBe('ECONNRESET')
  })

  it('what goes over another agent is broken off when this one ends, and what stays here goes on', async () => {
    bed.forwarder().onRemote(() => Promise.resolve(memoryStreamPair().near))
    await apply(forwardTo(bed.port, remote('web9')))
    const far = connect(bed.port, '127.0.0.1')
    const broken = once(far, 'error')
    await once(far, 'connect')
    await delay(100)
    const others = Array.from({ length: 12 }, (_, index) => remote(`web${index + 2}`))
    await apply(forwardTo(bed.port, await bed.container('web1'), ...others))
    const talk = await bed.open()
    await bed.restart()
    expect(await broken).toMatchObject([{ code: 'ECONNRESET' }])
    // It is not known any more which of them it was led to.
    await talk?.end()
    for (let turn = 0; turn < 6; turn += 1) expect(await ask()).toBe('web1 hello')
    // The next agent leads to other nodes before it has told the forwarder anything.
    bed.forwarder().onRemote(() => Promise.resolve(farAway('web9')))
    const answers = new Set<string | undefined>()
    await until(async () => answers.add(await ask()).size === 2, 5_000)
    expect(answers).toEqual(new Set(['web1 hello', 'web9 hello']))
  })

  it('a port that another program has is told of, the others are answered, and it is answered once it is free', async () => {
    const other = createServer()
    other.listen(bed.port, '0.0.0.0')
    await once(other, 'listening')
    const web1 = await bed.container('web1')
    const free = bed.port + 1
    await apply(forwardTo(bed.port, web1), forwardTo(free, web1))
    expect(bed.forwarder().troubles()).toEqual([
      {
        protocol: 'tcp',
        port: bed.port,
        why: 'another program of this host has it: end that one, or publish another port',
      },
    ])
    expect(bed.log.at(-1)).toContain(`Port ${bed.port}/tcp is not answered on this host: another program`)
    const socket = connect(free, '127.0.0.1')
    await once(socket, 'connect')
    socket.destroy()
    other.close()
    await until(() => bed.forwarder().troubles().length === 0, 5_000)
    expect(bed.forwarder().troubles()).toEqual([])
    expect(await ask()).toBe('web1 hello')
  })

  it('that was killed is brought back by the agent, with all that it was told', async () => {
    await apply(forwardTo(bed.port, await bed.container('web1')))
    const [pid = 0] = bed.pids()
    process.kill(pid, 'SIGKILL')
    await until(() => bed.log.at(-1) === 'The forwarder is back.', 5_000)
    expect(await ask()).toBe('web1 hello')
    expect(bed.pids()).not.toContain(pid)
  })

  it('a newer version takes the place of an older one, which carries what it has begun to its end', async () => {
    await apply(forwardTo(bed.port, await bed.container('web1')))
    const [pid = 0] = bed.pids()
    const talk = await bed.open()
    await talk?.begun()
    await talk?.say('begun before')
    bed.setProgram('newer')
    await bed.restart()
    await apply(forwardTo(bed.port, await bed.container('web2')))
    expect(await ask()).toBe('web2 hello')
    expect(bed.pids()).toHaveLength(2)
    expect(await talk?.end()).toBe('web1 begun before')
    await until(() => !isAlive(pid), 5_000)
    expect(isAlive(pid)).toBe(false)
  })

  it('is not started for nothing, and an agent that has nothing for it empties what the one before has told it', async () => {
    await apply()
    expect(bed.pids()).toEqual([])
    await apply(forwardTo(bed.port, await bed.container('web1')))
    await bed.restart()
    await apply()
    expect(await ask()).toBeUndefined()
  })

  it('a client of UDP is led to one who answers for as long as that does, and then to another at once', async () => {
    const [web1, web2] = [await answering('web1', '127.88.0.1'), await answering('web2', '127.88.0.2')]
    await apply(udp(web1, web2))
    const say = await client()
    const first = await say('a')
    for (let turn = 0; turn < 8; turn += 1) expect(await say('a')).toBe(first)
    const [left, name] = first === 'web1 a' ? [web2, 'web2'] : [web1, 'web1']
    await apply(udp(left))
    expect(await say('b')).toBe(`${name} b`)
    const others = await Promise.all(Array.from({ length: 4 }, client))
    for (const each of others) expect(await each('c')).toBe(`${name} c`)
    await apply(udp())
    expect(await say('d')).toBeUndefined()
  })

  it('datagrams reach a task of another node, and come back', async () => {
    await answering('web9', '127.88.0.9')
    bed
      .forwarder()
      .onRemote((_node, { protocol }, signal) =>
        bed.forwarder().connect(protocol, '127.88.0.9', target, signal),
      )
    await apply(udp(remote('web9')))
    const say = await client()
    for (const text of ['one', 'two', 'three']) expect(await say(text)).toBe(`web9 ${text}`)
  })

  it('whatever is sent to its sockets, it goes on', async () => {
    await apply(forwardTo(bed.port, await bed.container('web1')))
    bed.forwarder().onRemote(() => Promise.resolve(farAway('web9')))
    for (const path of ['socket', 'relay']) {
      for (const garbage of ['GET / HTTP/1.1\r\n\r\n', '\0\0\0\x02{}', `\0\0\0\x03{}\n`, '\0\0\0\0']) {
        const socket = connect(`${bed.directory}/${path}`)
        socket.on('error', () => undefined)
        const closed = once(socket, 'close')
        socket.resume().end(garbage)
        await closed
      }
    }
    expect(await ask()).toBe('web1 hello')
    expect(bed.pids()).toHaveLength(1)
  })
})
