import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { decode } from 'dns-packet'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Launcher } from '../../packages/agent/src/adapters/detached/launcher.ts'
import { nameServerPlace } from '../../packages/agent/src/adapters/dns/client.ts'
import { nameServerProgram } from '../../packages/agent/src/adapters/dns/program.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { codeOf, type ProcessBed, processBed, query, sendTcp, signal, tableOf } from './name-server.bed.ts'
import { isAlive } from './processes.ts'

const stranger = '127.77.0.99'
const web = { kind: 'addresses', values: ['127.77.0.2'] }
const many = Array.from({ length: 200 }, (_, index) => `127.77.2.${index}`)

describe('the name server’s process', () => {
  let bed: ProcessBed
  beforeEach(async () => {
    bed = await processBed()
  })
  afterEach(() => bed.close())
  const publish = (...table: Parameters<typeof tableOf>): Promise<void> =>
    bed.server().publish(tableOf(...table), signal)
  const until = async (what: () => Promise<boolean> | boolean, withinMs: number): Promise<void> => {
    const atMs = performance.now() + withinMs
    while (!(await what()) && performance.now() < atMs) await delay(10)
  }
  const isAnswering = async (): Promise<boolean> =>
    (await bed.send(query('web'), stranger, 200)) !== undefined

  it('a stub resolver gets what it asks for, and comes back over TCP for what is long', async () => {
    await publish({ long: { addresses: many, local: 0 } })
    const resolver = new Resolver({ timeout: 1_000, tries: 2 })
    resolver.setServers([`127.0.0.1:${bed.port}`])
    resolver.setLocalAddress(stranger)
    expect(await resolver.resolve4('web', { ttl: true })).toEqual([{ address: '127.77.0.2', ttl: 1 }])
    expect(await resolver.resolve4('tasks.web.moot.internal')).toHaveLength(3)
    expect(await resolver.reverse('127.77.0.2')).toEqual(['web.moot.internal'])
    await expect(resolver.resolve6('web')).rejects.toMatchObject({ code: 'ENODATA' })
    await expect(resolver.resolve4('nobody.moot.internal')).rejects.toMatchObject({ code: 'ENOTFOUND' })
    expect((await resolver.resolve4('long')).toSorted()).toEqual(many.toSorted())
    expect(await bed.server().counts(signal)).toMatchObject({ truncated: 1 })
  })

  it('over one TCP connection many questions are answered, in pieces too', async () => {
    await publish()
    const questions = Array.from({ length: 300 }, (_, id) => query('web', 'A', id))
    const answers = await sendTcp(questions, stranger, bed.port)
    expect(answers.map((bytes) => decode(bytes).id).toSorted((a, b) => a! - b!)).toEqual(
      questions.map((_, id) => id),
    )
    const socket = connect({ host: '127.0.0.1', port: bed.port, localAddress: stranger })
    const answered = new Promise<Buffer>((resolve) => {
      socket.once('data', resolve)
    })
    const question = query('web')
    for (const byte of [0, question.length, ...question]) {
      socket.write(Buffer.from([byte]))
      await delay(1)
    }
    expect(decode((await answered).subarray(2))).toMatchObject({ answers: [{ data: '127.77.0.2' }] })
    socket.destroy()
  })

  it('whatever is sent to it, it goes on', async () => {
    await publish()
    const pid = await bed.pid()
    const socket = createSocket('udp4')
    await new Promise<void>((resolve) => {
      socket.bind({ address: stranger }, resolve)
    })
    for (let round = 0; round < 3_000; round++) {
      const bytes = Buffer.alloc(round % 600).map(() => Math.floor(Math.random() * 256))
      // As a question, so that it is looked into.
      if (bytes.length > 12 && round % 2 === 0) bytes.set([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, round % 3], 0)
      socket.send(bytes, bed.port, '127.0.0.1')
      if (round % 100 === 0) await delay(5)
    }
    socket.close()
    for (const garbage of [Buffer.from([0xff, 0xff, 1, 2]), Buffer.from([0, 3, 1, 2, 3]), Buffer.alloc(30)])
      await closed(connect({ host: '127.0.0.1', port: bed.port, localAddress: stranger }), garbage)
    await closed(connect(join(bed.directory, 'socket')), Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    await closed(connect(join(bed.directory, 'socket')), Buffer.from('\0\0\0\x02{}'))
    expect(await bed.ask(stranger, 'web')).toEqual(web)
    expect(await bed.pid()).toBe(pid)
  })

  it('whoever is on no network gets no TCP connection, and no answer that is longer than its question', async () => {
    await publish()
    const question = query('web')
    const bytes = await bed.send(question, '127.78.0.1')
    expect([codeOf(bytes!), bytes!.length]).toEqual([5, question.length])
    await closed(connect({ host: '127.0.0.1', port: bed.port, localAddress: '127.78.0.1' }), question)
  })

  it('that was killed is brought back with the table, by the agent', async () => {
    await publish({ db: { addresses: ['127.77.0.3'], local: 0 } })
    const pid = await bed.pid()
    await bed.kill()
    await until(isAnswering, 5_000)
    expect(await bed.ask(stranger, 'db')).toMatchObject({ values: ['127.77.0.3'] })
    expect(await bed.pid()).not.toBe(pid)
    await until(() => bed.log.at(-1) === 'The name server is back.', 2_000)
    expect(bed.log.at(-1)).toBe('The name server is back.')
  })

  it('that is started anew answers by what it was told last, before anybody has told it anything', async () => {
    await publish({ db: { addresses: ['127.77.0.3'], local: 0 } })
    await until(() => existsSync(join(bed.directory, 'table.json')), 2_000)
    await bed.server().close()
    await bed.kill()
    const line = await new Launcher(
      nameServerPlace({ directory: bed.directory, port: bed.port }),
      defaults,
    ).reach(() => undefined)
    expect(await bed.ask(stranger, 'db')).toMatchObject({ values: ['127.77.0.3'] })
    line.close()
  })

  it('whose kept table cannot be read sets it aside, and answers again once it is told', async () => {
    await publish()
    await until(() => existsSync(join(bed.directory, 'table.json')), 2_000)
    await bed.server().close()
    await bed.kill()
    writeFileSync(join(bed.directory, 'table.json'), '{"changes":')
    await bed.restart()
    await publish()
    expect(await bed.ask(stranger, 'web')).toEqual(web)
    expect(readFileSync(join(bed.directory, 'table.json.damaged'), 'utf8')).toBe('{"changes":')
  })

  it('that hangs is ended, and another takes its place', { timeout: 20_000 }, async () => {
    await publish()
    const pid = await bed.pid()
    process.kill(pid, 'SIGSTOP')
    await until(isAnswering, 12_000)
    expect(await bed.ask(stranger, 'web')).toEqual(web)
    expect(isAlive(pid)).toBe(false)
  })

  it('there is one for a directory, whoever asks', async () => {
    const servers = [bed.server(), bed.another(), bed.another()]
    await Promise.all(servers.map((server) => server.publish(tableOf(), signal)))
    const pid = await bed.pid()
    // A restart of the agent finds it.
    await bed.restart()
    await publish()
    expect(await bed.pid()).toBe(pid)
    expect(await bed.ask(stranger, 'web')).toEqual(web)
  })

  it('what another agent has said since is put right', async () => {
    await publish()
    const other = bed.another()
    await other.publish(tableOf({ db: { addresses: ['127.77.0.3'], local: 0 } }), signal)
    await publish({ cache: { addresses: ['127.77.0.4'], local: 0 } })
    expect(await bed.ask(stranger, 'db.moot.internal')).toMatchObject({ kind: 'unknown' })
    expect(await bed.ask(stranger, 'cache')).toMatchObject({ kind: 'addresses' })
  })

  it('two with different tables do not share a port; who comes second says why it cannot', async () => {
    await publish()
    const second = bed.another({ directory: `${bed.directory}-2` })
    await expect(second.publish(tableOf(), signal)).rejects.toThrow(
      `another name server of Moot has port ${bed.port}`,
    )
    expect(await bed.ask(stranger, 'web')).toEqual(web)
  })

  it('a port that another program has is said to be in use', async () => {
    const other = createSocket('udp4')
    await new Promise<void>((resolve) => {
      other.bind({ port: bed.port, address: '0.0.0.0' }, resolve)
    })
    await expect(publish()).rejects.toThrow(/EADDRINUSE/)
    other.close()
  })

  it('a newer version takes the place of an older one, and hardly a question is lost', async () => {
    await publish({ db: { addresses: ['127.77.0.3'], local: 0 } })
    const pid = await bed.pid()
    const asking = constantQuestions(bed.port)
    await delay(200)
    bed.setProgram('newer')
    await bed.restart()
    await publish({ db: { addresses: ['127.77.0.4'], local: 0 } })
    await delay(200)
    const { asked, unanswered, longestGapMs } = await asking.stop()
    expect(await bed.pid()).not.toBe(pid)
    expect(await bed.ask(stranger, 'db')).toMatchObject({ values: ['127.77.0.4'] })
    await until(() => !isAlive(pid), 2_000)
    expect(isAlive(pid)).toBe(false)
    expect(asked).toBeGreaterThan(300)
    expect(unanswered / asked).toBeLessThan(0.01)
    expect(longestGapMs).toBeLessThan(250)
  })

  it('one that cannot be replaced goes on', async () => {
    await publish()
    const { path } = nameServerProgram()
    const broken = new Launcher(
      nameServerPlace({
        directory: bed.directory,
        port: bed.port,
        program: { path: `${path}.missing`, version: 'newer' },
      }),
      defaults,
    )
    const line = await broken.reach(() => undefined)
    expect(await line.hello()).toMatchObject({ program: nameServerProgram().version })
    line.close()
    expect(await bed.ask(stranger, 'web')).toEqual(web)
  })
})

/** Resolves once the other side has closed. */
function closed(socket: ReturnType<typeof connect>, words: Buffer): Promise<void> {
  return new Promise((resolve) => {
    socket.on('error', () => undefined)
    socket.once('close', () => resolve())
    socket.resume().write(words)
  })
}

/** About a thousand a second, from many ports. */
function constantQuestions(port: number): {
  stop(): Promise<{ asked: number; unanswered: number; longestGapMs: number }>
} {
  const sockets = Array.from({ length: 16 }, () => createSocket('udp4'))
  const open = new Set<number>()
  let asked = 0
  let lastMs: number | undefined
  let longestGapMs = 0
  for (const socket of sockets) {
    socket.bind({ address: stranger })
    socket.on('message', (bytes) => {
      open.delete(bytes.readUInt16BE(0))
      const nowMs = performance.now()
      if (lastMs !== undefined) longestGapMs = Math.max(longestGapMs, nowMs - lastMs)
      lastMs = nowMs
    })
  }
  const timer = setInterval(() => {
    for (const socket of sockets) {
      const id = asked++
      open.add(id)
      socket.send(query('web', 'A', id), port, '127.0.0.1')
    }
  }, 16)
  return {
    async stop() {
      clearInterval(timer)
      await delay(200)
      for (const socket of sockets) socket.close()
      return { asked, unanswered: open.size, longestGapMs }
    },
  }
}
