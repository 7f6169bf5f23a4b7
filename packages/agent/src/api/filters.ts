import { badRequest } from './errors.ts'
import { isObject } from './schema-errors.ts'

/** `?filters=` of a list: values by filter name. */
export interface Filters {
  has(name: string): boolean
  /** Empty when the filter was not given. */
  values(name: string): readonly string[]
  /** No filter of this name, or one of its values is a prefix of the text. */
  prefix(name: string, text: string): boolean
  exact(name: string, text: string): boolean
  /** No filter of this name, or *every* one of its `key` or `key=value` holds (swarmkit's `filterMatchLabels`). */
  labels(name: string, labels: Readonly<Record<string, string>>): boolean
}

/** Both of Docker's forms: `{"name":["web"]}` and, older, `{"name":{"web":true}}`. Throws 400 on an unknown name. */
export function readFilters(query: URLSearchParams, accepted: readonly string[]): Filters {
  const given = parse(query.get('filters') ?? '')
  for (const name of given.keys()) {
    if (!accepted.includes(name)) throw badRequest(`invalid filter '${name}'`)
  }
  return filtersOf(given)
}

export function filtersOf(given: ReadonlyMap<string, readonly string[]>): Filters {
  const values = (name: string): readonly string[] => given.get(name) ?? []
  const some = (name: string, test: (value: string) => boolean): boolean =>
    values(name).length === 0 || values(name).some(test)
  return {
    has: (name) => values(name).length > 0,
    values,
    prefix: (name, text) => some(name, (value) => text.startsWith(value)),
    exact: (name, text) => some(name, (value) => value === text),
    labels: (name, labels) =>
      values(name).every((wanted) => {
        const equals = wanted.indexOf('=')
        const key = equals < 0 ? wanted : wanted.slice(0, equals)
        if (!Object.hasOwn(labels, key)) return false
        return equals < 0 || wanted.slice(equals + 1) === '' || labels[key] === wanted.slice(equals + 1)
      }),
  }
}

function parse(text: string): Map<string, readonly string[]> {
  const result = new Map<string, readonly string[]>()
  if (text === '') return result
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw badRequest('invalid filter: ?filters= is not JSON')
  }
  if (value === null) return result
  if (!isObject(value)) throw badRequest('invalid filter: ?filters= must be an object of lists')
  for (const [name, entry] of Object.entries(value)) result.set(name, listOf(name, entry))
  return result
}

function listOf(name: string, entry: unknown): readonly string[] {
  if (Array.isArray(entry) && entry.every((item): item is string => typeof item === 'string')) return entry
  if (isObject(entry) && Object.values(entry).every((item) => typeof item === 'boolean')) {
    return Object.entries(entry).flatMap(([value, on]) => (on === true ? [value] : []))
  }
  throw badRequest(`invalid filter '${name}': its values must be a list of strings`)
}

/** A filter that takes a boolean: 1, t, true, 0, f, false (Go's ParseBool). */
export function booleanFilter(filters: Filters, name: string): boolean | undefined {
  const [value] = filters.values(name)
  if (value === undefined) return undefined
  if (['1', 't', 'T', 'true', 'True', 'TRUE'].includes(value)) return true
  if (['0', 'f', 'F', 'false', 'False', 'FALSE'].includes(value)) return false
  throw badRequest(`invalid filter '${name}=[${value}]'`)
}
