import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { nodeIdOf } from '@moot/crdt-state'
import { pino } from 'pino'
import { afterEach, expect, test, vi } from 'vitest'
import { defaults } from '../../../defaults.ts'
import type { FromThread, ToThread } from './messages.ts'
import { Supervisor } from './supervisor.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

test('a thread that dies is told of, started again with what it must know, and then ever more slowly', async () => {
  const heard: FromThread[] = []
  const warnings: { againInMs: number }[] = []
  let ends = 0
  const supervisor = new Supervisor({
    settings: { ...defaults, datagramRestartFirstMs: 20, datagramRestartMaxMs: 60_000 },
    logger: pino({ level: 'warn' }, { write: (line: string) => warnings.push(JSON.parse(line) as never) }),
    started: () => [{ kind: 'members', members: [] }],
    heard: (message) => heard.push(message),
    ended: () => (ends += 1),
  })
  cleanups.push(() => supervisor.stop())
  supervisor.start({
    self: nodeIdOf(new Uint8Array(32)),
    clusterTag: 'test',
    door: { host: '127.0.0.1', port: 0 },
  })
  for (let deaths = 1; deaths <= 3; deaths += 1) {
    await vi.waitFor(() => expect(heard).toHaveLength(deaths), { timeout: 20_000 })
    expect(heard.at(-1)).toEqual({ kind: 'bound' })
    // No message that it knows how to take.
    supervisor.tell({ kind: 'members' } as ToThread)
    await vi.waitFor(() => expect(ends).toBe(deaths), { timeout: 20_000 })
  }
  expect(warnings.map(({ againInMs }) => againInMs)).toEqual([20, 40, 80])
})

test('it keeps no process alive', async () => {
  const code = `
    import { Supervisor } from '${new URL('./supervisor.ts', import.meta.url).href}'
    import { defaults } from '${new URL('../../../defaults.ts', import.meta.url).href}'
    const logger = { warn() {} }
    const supervisor = new Supervisor({ settings: defaults, logger, started: () => [], ended() {}, heard({ kind }) {
      process.stdout.write(kind)
      clearInterval(waiting)
    } })
    supervisor.start({ self: 'n', clusterTag: 'test', door: { host: '127.0.0.1', port: 0 } })
    const waiting = setInterval(() => undefined, 1_000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  cleanups.push(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  expect(String((await once(child.stdout, 'data'))[0])).toBe('bound')
  expect(await exited).toEqual([0, null])
})
