import { badRequest, notFound } from './errors.ts'

/**
 * Docker's order (moby `daemon/cluster/helpers.go`): the full id, then the name, then a unique prefix of the id.
 * Throws 404, or 400 where several match.
 */
export function resolve<T>(
  kind: string,
  reference: string,
  candidates: Iterable<T>,
  id: (item: T) => string,
  name: (item: T) => string | undefined,
): T {
  const byName: T[] = []
  const byPrefix: T[] = []
  for (const item of candidates) {
    if (id(item) === reference) return item
    if (name(item) === reference) byName.push(item)
    if (reference !== '' && id(item).startsWith(reference)) byPrefix.push(item)
  }
  const found = byName.length > 0 ? byName : byPrefix
  const [only] = found
  if (only === undefined) throw notFound(kind, reference)
  if (found.length > 1) throw badRequest(`${kind} ${reference} is ambiguous (${found.length} matches found)`)
  return only
}
