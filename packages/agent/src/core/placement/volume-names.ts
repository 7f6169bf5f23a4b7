import type { Slot } from '@moot/crdt-state'
import type { Workload } from './workload.ts'

const placeholder = /\{\{-?\s*(.*?)\s*-?\}\}/gs
const ofSlot = /\{\{-?\s*\.Task\.Slot\b/
/** A volume of a single task: no later one finds it again. */
const ofTask = /\{\{-?\s*\.Task\.(ID|Name)\b/

/** What the names of a service's volumes say about where its data is. */
export interface TellingVolumes {
  /** With the slot's own name (`data-{{.Task.Slot}}`). */
  readonly own: readonly string[]
  /** All others that a later task finds again. */
  readonly common: readonly string[]
  /** Of these, those that this service alone writes to: certificates that others have too, say, tell little. */
  readonly telling: readonly string[]
}

/** @param isShared does another service write to it too? */
export function tellingVolumes(
  { volumes, writes }: Pick<Workload, 'volumes' | 'writes'>,
  isShared: (volume: string) => boolean,
): TellingVolumes {
  const found = [...new Set(volumes)].filter((volume) => !ofTask.test(volume))
  const own = found.filter((volume) => ofSlot.test(volume))
  const common = found.filter((volume) => !ofSlot.test(volume))
  if (common.length < 2) return { own, common, telling: common }
  return { own, common, telling: common.filter((volume) => writes.includes(volume) && !isShared(volume)) }
}

/**
 * How many of these volumes are among those that a node has? What the service and the slot say is filled in; what only
 * the node or the task knows may be anything, as the name was made there. Without a slot that may be any, too.
 */
export function volumeCounter(
  { id, name }: Pick<Workload, 'id' | 'name'>,
  volumes: readonly string[],
  slot?: Slot,
): (present: readonly string[]) => number {
  const known = new Map([
    ['.Service.ID', id as string],
    ['.Service.Name', name],
    ...(slot === undefined ? [] : [['.Task.Slot', String(slot)] as const]),
  ])
  const tests = volumes.map((volume) => testOf(volume, known))
  return (present) => tests.filter((test) => test(present)).length
}

function testOf(volume: string, known: ReadonlyMap<string, string>): (present: readonly string[]) => boolean {
  if (!volume.includes('{{')) return (present) => present.includes(volume)
  let pattern = ''
  let end = 0
  for (const match of volume.matchAll(placeholder)) {
    const value = known.get(match[1] ?? '')
    pattern +=
      RegExp.escape(volume.slice(end, match.index)) + (value === undefined ? '.+' : RegExp.escape(value))
    end = match.index + match[0].length
  }
  const whole = new RegExp(`^${pattern}${RegExp.escape(volume.slice(end))}$`, 's')
  return (present) => present.some((name) => whole.test(name))
}
