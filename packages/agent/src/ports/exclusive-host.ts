import type { BootMemory } from './boot-memory.ts'
import type { Watchdog } from './watchdog.ts'

/** What a host gives to exclusive services. */
export interface ExclusiveHost {
  /** Of this agent alone: two agents on one host have one each. */
  readonly memory: BootMemory
  /** The client of this host's watchdog; each membership has its own, and closes it. */
  readonly watchdog: () => Watchdog
  /** The cgroup that all containers of a slot are below, as the engine's driver names it; undefined: it has no such cgroups. */
  readonly cgroup: (
    place: { readonly cluster: string; readonly node: string; readonly slot: string },
    driver: string,
  ) => string | undefined
}
