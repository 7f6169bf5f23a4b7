import type { Cgroups } from '../watchdog/cgroups.ts'
import { memoryBootMemory, type MemoryBootMemory } from './boot-memory.memory.ts'
import type { Clock } from './clock.ts'
import type { ExclusiveHost } from './exclusive-host.ts'
import { memoryWatchdog, type MemoryWatchdog } from './watchdog.memory.ts'

export interface MemoryExclusiveHost extends ExclusiveHost {
  readonly memory: MemoryBootMemory
  /** Its process, which outlives the agents; each of them has a client of its own. */
  readonly process: MemoryWatchdog
}

/** @param cgroups of the host's kernel; a slot's cgroup is `/moot/exclusive/<slot>`. */
export function memoryExclusiveHost(
  clock: Pick<Clock, 'monotonicMs' | 'after'>,
  cgroups: Cgroups,
): MemoryExclusiveHost {
  const process = memoryWatchdog(clock, cgroups)
  return {
    memory: memoryBootMemory(),
    process,
    watchdog: () => ({ ...process, close: () => Promise.resolve() }),
    cgroup: ({ slot }, driver) => (driver === 'none' ? undefined : `/moot/exclusive/${slot}`),
  }
}
