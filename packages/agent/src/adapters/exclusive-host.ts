import { join } from 'node:path'
import type { defaults } from '../defaults.ts'
import type { ExclusiveHost } from '../ports/exclusive-host.ts'
import { bootMemory } from './boot-memory.ts'
import { slotCgroup } from './docker/slot-cgroup.ts'
import { runDirectory } from './run-directory.ts'
import { processWatchdog } from './watchdog/client.ts'

/** @param dataDirectory tells the agents of one host apart. */
export function systemExclusiveHost(options: {
  readonly dataDirectory: string
  readonly runDirectory: string
  readonly settings: typeof defaults
}): ExclusiveHost {
  const directory = runDirectory(options.runDirectory, options.dataDirectory)
  return {
    memory: bootMemory(join(directory, 'granted')),
    watchdog: () =>
      processWatchdog({
        directory: join(directory, 'watchdog'),
        cgroupRoot: '/sys/fs/cgroup',
        settings: options.settings,
      }),
    cgroup: (place, driver) =>
      driver === 'cgroupfs' || driver === 'systemd' ? slotCgroup(place, driver).path : undefined,
  }
}
