import { canonicalJson } from '../canonical-json.ts'
import { flatten, type Flat } from './flat.ts'

/** Register → new value; `undefined` removes the field. */
export type FieldChanges = ReadonlyMap<string, unknown>

export function changedFields(before: object, after: object): FieldChanges {
  return changedRegisters(flatten(before), flatten(after))
}

export function changedRegisters(before: Flat, after: Flat): FieldChanges {
  const changes = new Map<string, unknown>()
  for (const [pointer, value] of after) {
    if (!before.has(pointer) || !sameJson(before.get(pointer), value)) changes.set(pointer, value)
  }
  for (const pointer of before.keys()) {
    if (!after.has(pointer)) changes.set(pointer, undefined)
  }
  return changes
}

export function sameJson(a: unknown, b: unknown): boolean {
  return a === b || canonicalJson(a) === canonicalJson(b)
}
