import type * as z from 'zod'
import { badRequest } from './errors.ts'

/** Parses, or throws a 400 that names the first field that is wrong: `TaskTemplate.ContainerSpec.Image: …`. */
export function parseWith<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  if (issue === undefined) throw badRequest(`invalid ${what}`)
  const path = issue.path.map(String).join('.')
  // Where nothing was given, "expected string, received undefined" is no help to a person.
  const isMissing = path !== '' && issue.code === 'invalid_type' && at(value, issue.path) === undefined
  throw badRequest(
    `invalid ${what}: ${path === '' ? '' : `${path}: `}${isMissing ? 'it is missing' : issue.message}`,
  )
}

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  let inner = value
  for (const key of path) inner = (inner as Readonly<Record<PropertyKey, unknown>> | undefined)?.[key]
  return inner
}

/**
 * Fields of the body that the schema did not keep and that say something: nothing is ignored in silence, so the
 * answer's `Warnings` name them. Empty values say nothing (Go writes out many of them).
 */
export function unknownFields(raw: unknown, parsed: unknown, path = ''): string[] {
  if (Array.isArray(raw)) {
    const items = Array.isArray(parsed) ? parsed : []
    return raw.flatMap((item, index) => unknownFields(item, items[index], `${path}[${index}]`))
  }
  if (!isObject(raw)) return []
  const kept = isObject(parsed) ? parsed : {}
  return Object.entries(raw).flatMap(([key, value]) => {
    const at = path === '' ? key : `${path}.${key}`
    if (Object.hasOwn(kept, key)) return unknownFields(value, kept[key], at)
    return saysNothing(value) ? [] : [at]
  })
}

export function unknownFieldsWarning(fields: readonly string[]): string[] {
  if (fields.length === 0) return []
  const shown = fields.slice(0, 20).join(', ')
  return [`Moot does not know, and did not store: ${shown}${fields.length > 20 ? ', …' : ''}`]
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function saysNothing(value: unknown): boolean {
  if (value === null || value === undefined || value === '' || value === 0 || value === false) return true
  if (Array.isArray(value)) return value.every(saysNothing)
  return isObject(value) && Object.values(value).every(saysNothing)
}
