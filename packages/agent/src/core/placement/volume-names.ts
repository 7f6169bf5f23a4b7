import type { Slot } from '@moot/crdt-state'
import type { Workload } from './workload.ts'

const placeholder = /\{\{-?\s*(.*?)\s*-?\}\}/gs

/** `data-{{.Task.Slot}}`: the volume's name is the slot's own. */
export function hasSlotVolumes({ volumes }: Pick<Workload, 'volumes'>): boolean {
  return volumes.some((volume) => volume.includes('{{'))
}

/**
 * Is one of these volumes the slot's? What the service and the slot say is filled in; what only the node or the task
 * knows may be anything, as the name was made there.
 */
export function slotVolumes(
  { id, name, volumes }: Pick<Workload, 'id' | 'name' | 'volumes'>,
  slot: Slot,
): (present: string) => boolean {
  const known = new Map([
    ['.Service.ID', id as string],
    ['.Service.Name', name],
    ['.Task.Slot', String(slot)],
  ])
  const patterns = volumes.map((volume) => {
    let pattern = ''
    let end = 0
    for (const match of volume.matchAll(placeholder)) {
      const value = known.get(match[1] ?? '')
      pattern +=
        RegExp.escape(volume.slice(end, match.index)) + (value === undefined ? '.+' : RegExp.escape(value))
      end = match.index + match[0].length
    }
    return new RegExp(`^${pattern}${RegExp.escape(volume.slice(end))}$`, 's')
  })
  return (present) => patterns.some((pattern) => pattern.test(present))
}
