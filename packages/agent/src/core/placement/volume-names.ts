import type { Slot } from '@moot/crdt-state'
import type { Workload } from './workload.ts'

const placeholder = /\{\{-?\s*(.*?)\s*-?\}\}/gs
const ofTask = /\{\{-?\s*\.Task\./

/**
 * The volumes that tell where a slot's data is. Where some have the slot's own name (`data-{{.Task.Slot}}`) no other
 * does; else what other services mount too (certificates, say) tells nothing, unless there is nothing else.
 *
 * @param isShared does another service mount it too?
 */
export function tellingVolumes(
  { volumes }: Pick<Workload, 'volumes'>,
  isShared: (volume: string) => boolean,
): { readonly volumes: readonly string[]; readonly areOfSlot: boolean } {
  const distinct = [...new Set(volumes)]
  if (distinct.length === 1) return { volumes: distinct, areOfSlot: ofTask.test(distinct[0] ?? '') }
  const own = distinct.filter((volume) => ofTask.test(volume))
  if (own.length > 0) return { volumes: own, areOfSlot: true }
  const alone = distinct.filter((volume) => !isShared(volume))
  return { volumes: alone.length > 0 ? alone : distinct, areOfSlot: false }
}

/**
 * How many of these volumes are among those that a node has? What the service and the slot say is filled in; what only
 * the node or the task knows may be anything, as the name was made there.
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
