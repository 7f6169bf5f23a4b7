import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { defaults } from '../../defaults.ts'
import { lockDirectory } from '../../directory-lock.ts'
import { Keeper } from '../../watchdog/keeper.ts'
import { bootMs } from './boot-clock.ts'
import { systemCgroups } from './cgroups.ts'
import { raisePriority } from './priority.ts'
import { WatchdogServer } from './server.ts'
import { stateFile } from './state-file.ts'

/**
 * The watchdog's process. It loads nothing of the agent that it does not need: its memory is what a host pays for it. Ends
 * itself when there has been nothing to watch for a while.
 */
async function watch(): Promise<void> {
  const { values } = parseArgs({
    options: { directory: { type: 'string' }, cgroups: { type: 'string', default: '/sys/fs/cgroup' } },
  })
  const { directory } = values
  if (directory === undefined) throw new Error('--directory says where the socket and the state are')
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  // Held until the process ends, and by whoever listens for that: a lock that nobody refers to would be collected.
  process.on('exit', lockDirectory(directory))
  const state = stateFile(directory, log)
  const keeper = new Keeper(
    {
      cgroups: systemCgroups(values.cgroups),
      bootMs,
      after,
      save: (all) => state.write(all),
      log,
      settings: defaults,
    },
    state.read(),
  )
  // A service manager or a terminal that ends the agent's processes must not free its tasks of their deadlines.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (keeper.isIdle && signal !== 'SIGHUP') process.exit()
      log(`${signal} is ignored while slots are watched`)
    })
  }
  // Before the priority: what was due while nobody watched is late already.
  keeper.start()
  log(`watching as ${process.pid}; ${raisePriority()}`)
  await new WatchdogServer(keeper, defaults).listen(join(directory, 'socket'))
  endWhenIdle(keeper)
}

function endWhenIdle(keeper: Keeper): void {
  let idleSinceMs = bootMs()
  setInterval(() => {
    if (!keeper.isIdle) idleSinceMs = bootMs()
    else if (bootMs() - idleSinceMs >= defaults.watchdogIdleMs) process.exit()
  }, defaults.watchdogIdleMs / 10)
}

function after(ms: number, callback: () => void): () => void {
  const timer = setTimeout(callback, ms)
  return () => clearTimeout(timer)
}

function log(line: string): void {
  process.stderr.write(`${new Date().toISOString()} ${line}\n`)
}

await watch()
