import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { defaults } from '../../defaults.ts'
import { lockDirectory } from '../../directory-lock.ts'
import { Control } from '../detached/control.ts'
import { Line } from '../detached/line.ts'
import { lockWithin } from '../detached/lock-within.ts'
import type { CommonQuestion, CommonReply } from '../detached/wire.ts'
import { Doors } from './doors.ts'
import { forwarderWire, type Question, type Reply } from './protocol.ts'

/** How long one that takes over waits for what the other has let go of. */
const handOverMs = 1_000

/** How often one that was replaced looks whether it is still needed. */
const lookMs = 1_000

/** Until then it has said that it ends. */
const endMs = 20

/** The forwarder's process: passes on by what it was told last, until it is told to end. */
async function serve(): Promise<void> {
  const { values } = parseArgs({
    options: {
      directory: { type: 'string' },
      program: { type: 'string', default: '' },
      replace: { type: 'boolean', default: false },
    },
  })
  const { directory, program } = values
  if (directory === undefined) throw new Error('--directory says where the sockets are')
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, 'socket')
  const doors = new Doors(join(directory, 'relay'), defaults)
  const before = values.replace
    ? await Line.open(path, forwarderWire, defaults, () => undefined).catch(() => undefined)
    : undefined
  let release: () => void
  if (before === undefined) release = lockDirectory(directory)
  else {
    const known = await before.ask({ ask: 'forwards' })
    const reply = await before.ask({ ask: 'retire' })
    if (reply.kind !== 'gone') throw new Error(`the one before does not go: ${JSON.stringify(reply)}`)
    before.close()
    // At once: until then whoever comes is refused.
    if (known.kind === 'forwards') await doors.apply(known.forwards)
    release = await lockWithin(directory, handOverMs)
  }
  // Held until the process ends, and by whoever listens for that: a lock that nobody refers to would be collected.
  process.on('exit', () => release())

  const leave = (): void => {
    control.close()
    doors.close()
    release()
    setImmediate(() => control.hangUp())
  }
  const exit = (): void => {
    log(`${process.pid} ends`)
    process.exit()
  }
  const answer = async (asked: Question | CommonQuestion): Promise<Reply | CommonReply> => {
    switch (asked.ask) {
      case 'hello':
        return { kind: 'hello', pid: process.pid, program }
      case 'apply':
        await doors.apply(asked.forwards)
        return { kind: 'troubles', troubles: doors.troubles }
      case 'troubles':
        return { kind: 'troubles', troubles: doors.troubles }
      case 'counts':
        return { kind: 'counts', counts: doors.counts }
      case 'forwards':
        return { kind: 'forwards', forwards: doors.forwards }
      case 'retire':
        leave()
        setInterval(() => doors.connections === 0 && exit(), lookMs)
        return { kind: 'gone' }
      case 'end':
        leave()
        setTimeout(exit, endMs)
        return { kind: 'gone' }
    }
  }
  const control = new Control(answer, forwarderWire, defaults)
  writeFileSync(join(directory, 'pid'), String(process.pid), { mode: 0o600 })
  await control.listen(path)
  log(`passing on as ${process.pid}`)
}

function log(line: string): void {
  process.stderr.write(`${new Date().toISOString()} ${line}\n`)
}

await serve().catch((error: unknown) => {
  log(error instanceof Error ? error.message : String(error))
  process.exit(1)
})
