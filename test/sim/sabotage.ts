import type { Storage } from '@moot/crdt-state'
import type { Clock } from '../../packages/agent/src/ports/clock.ts'
import type { Engine } from '../../packages/agent/src/ports/engine.ts'
import type { Mesh } from '../../packages/agent/src/ports/mesh.ts'
import type { Watchdog } from '../../packages/agent/src/ports/watchdog.ts'

/** What is broken on purpose in every agent, to see that somebody tells. */
export interface Sabotage {
  readonly engine?: (engine: Engine) => Engine
  readonly storage?: (storage: Storage) => Storage
  readonly mesh?: (mesh: Mesh) => Mesh
  readonly watchdog?: (watchdog: Watchdog) => Watchdog
  readonly clock?: (clock: Clock) => Clock
}
