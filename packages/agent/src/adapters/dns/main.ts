import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { defaults } from '../../defaults.ts'
import { lockDirectory } from '../../directory-lock.ts'
import { Control } from '../detached/control.ts'
import { Line } from '../detached/line.ts'
import { lockWithin } from '../detached/lock-within.ts'
import type { CommonQuestion, CommonReply } from '../detached/wire.ts'
import { claimPort } from './port-claim.ts'
import { nameServerWire, type Question, type Reply } from './protocol.ts'
import { ResolvConf } from './resolv-conf.ts'
import { Service } from './service.ts'
import { tableFile } from './table-file.ts'

/** How long one that takes over waits for what the other has let go of. */
const handOverMs = 1_000

/** The name server's process: answers by what it was told last, until it is told to end. */
async function serve(): Promise<void> {
  const { values } = parseArgs({
    options: {
      directory: { type: 'string' },
      port: { type: 'string', default: String(defaults.nameServerPort) },
      program: { type: 'string', default: '' },
      'resolv-conf': { type: 'string', default: '/etc/resolv.conf' },
      'forward-port': { type: 'string', default: '53' },
      replace: { type: 'boolean', default: false },
    },
  })
  const { directory, program } = values
  if (directory === undefined) throw new Error('--directory says where the socket and the table are')
  const port = Number(values.port)
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, 'socket')
  const hostNameservers = new ResolvConf(values['resolv-conf'])
  const start = (): Promise<Service> =>
    Service.start({
      port,
      file: tableFile(directory, log),
      forwarding: {
        nameservers: () => hostNameservers.nameservers(),
        port: Number(values['forward-port']),
      },
      settings: defaults,
      log,
    })

  const before = values.replace
    ? await Line.open(path, nameServerWire, defaults, () => undefined).catch(() => undefined)
    : undefined
  let service: Service
  let releases: (() => void)[]
  if (before === undefined) {
    // Held until the process ends, and by whoever listens for that: a lock that nobody refers to would be collected.
    releases = [lockDirectory(directory), await claimPort(port, 0)]
    service = await start()
  } else {
    // Both answer, by the same table, until the one before has let go of the port: the kernel shares questions out between them.
    service = await start()
    const reply = await before.ask({ ask: 'retire' })
    if (reply.kind !== 'gone') throw new Error(`the one before does not go: ${JSON.stringify(reply)}`)
    before.close()
    releases = [await lockWithin(directory, handOverMs), await claimPort(port, handOverMs)]
    service.reload()
  }
  const release = (): void => {
    for (const each of releases) each()
    releases = []
  }
  process.on('exit', release)

  const answer = async (asked: Question | CommonQuestion): Promise<Reply | CommonReply> => {
    switch (asked.ask) {
      case 'hello':
        return { kind: 'hello', pid: process.pid, program, port }
      case 'publish':
        return { kind: service.publish(asked.from, asked.to, asked.changes) ? 'published' : 'stale' }
      case 'counts':
        return { kind: 'counts', counts: service.counts }
      case 'retire':
        await service.retire()
        control.close()
        release()
        setImmediate(() => void exitWhenDrained())
        return { kind: 'gone' }
      case 'end':
        control.close()
        service.end()
        release()
        setImmediate(() => void exitWhenDrained())
        return { kind: 'gone' }
    }
  }
  const control = new Control(answer, nameServerWire, defaults)
  const exitWhenDrained = async (): Promise<void> => {
    control.hangUp()
    await Promise.race([service.drained(), delay(defaults.nameServerConnectionIdleMs)])
    log(`${process.pid} ends`)
    process.exit()
  }

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      service.flush()
      process.exit()
    })
  }
  writeFileSync(join(directory, 'pid'), String(process.pid), { mode: 0o600 })
  await control.listen(path)
  log(`answering on port ${port} as ${process.pid}`)
}

function log(line: string): void {
  process.stderr.write(`${new Date().toISOString()} ${line}\n`)
}

await serve().catch((error: unknown) => {
  log(error instanceof Error ? error.message : String(error))
  process.exit(1)
})
