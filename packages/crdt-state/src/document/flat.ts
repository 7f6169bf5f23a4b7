/**
 * A spec as registers: one per leaf, by JSON pointer (RFC 6901). Two people who edit different fields write different
 * registers, and two who create the same service make no conflicting objects, because no object is ever written.
 * A list is one register: merged lists would be a third thing that nobody asked for.
 */
export type Flat = ReadonlyMap<string, unknown>

export function flatten(value: object): Map<string, unknown> {
  const flat = new Map<string, unknown>()
  flattenInto(flat, '', value)
  return flat
}

function flattenInto(flat: Map<string, unknown>, pointer: string, value: unknown): void {
  if (value === undefined) return
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    flat.set(pointer, value)
    return
  }
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  // An empty object says something of its own (`Mode: { Global: {} }`). The root is always there.
  if (members.length === 0 && pointer !== '') flat.set(pointer, {})
  for (const [key, member] of members) flattenInto(flat, `${pointer}/${escaped(key)}`, member)
}

/** Docker's specs are at most 8 deep; a peer's garbage must not exhaust the stack. */
const depthMax = 64

/** Any set of registers gives a value: where a leaf and leaves below it meet, the object wins. */
export function unflatten(flat: Flat): Record<string, unknown> {
  const root: Branch = new Map()
  for (const [pointer, value] of flat) {
    const path = pointer.split('/').slice(1).map(unescaped)
    if (pointer.startsWith('/') && path.length <= depthMax) plant(root, path, value)
  }
  return harvest(root)
}

type Branch = Map<string, Branch | Leaf>
interface Leaf {
  readonly value: unknown
}

function plant(root: Branch, path: readonly string[], value: unknown): void {
  let branch = root
  for (const key of path.slice(0, -1)) {
    const next = branch.get(key)
    if (next instanceof Map) {
      branch = next
      continue
    }
    const made: Branch = new Map()
    branch.set(key, made)
    branch = made
  }
  const last = path.at(-1) ?? ''
  if (branch.get(last) instanceof Map) return
  branch.set(last, isEmptyObject(value) ? new Map() : { value })
}

function harvest(branch: Branch): Record<string, unknown> {
  const keys = [...branch.keys()].sort()
  // fromEntries defines members instead of assigning them: `__proto__` is a label like any other.
  return Object.fromEntries(
    keys.map((key) => {
      const node = branch.get(key)
      return [key, node instanceof Map ? harvest(node) : node?.value]
    }),
  )
}

function isEmptyObject(value: unknown): boolean {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0
  )
}

function escaped(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1')
}

function unescaped(key: string): string {
  return key.replaceAll('~1', '/').replaceAll('~0', '~')
}

/** Pointers of one of which the other is the field itself or a part of it. */
export function overlap(a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`)
}
