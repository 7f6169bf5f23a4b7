import { type SpecKind, type SpecOf, specSchemas } from '../schema/resources.ts'
import type { Conflict } from '../spec-store.ts'
import { unflatten } from './flat.ts'

/**
 * Registers → a valid spec, the same on every node, whatever was merged. Each edit was valid by itself, but two of
 * them together need not be (one side made the service global while the other scaled it): what does not fit is left
 * out by rule, and listed as a conflict.
 */
export function readSpec<K extends SpecKind>(
  kind: K,
  name: string,
  registers: ReadonlyMap<string, string>,
): { readonly spec: SpecOf[K]; readonly problems: readonly Conflict[] } {
  const values = new Map([...registers].map(([pointer, text]) => [pointer, JSON.parse(text) as unknown]))
  const value = unflatten(values)
  const problems: Conflict[] = []
  if (kind === 'service') chooseMode(value, problems)
  const schema = specSchemas[kind]
  for (let round = 0; round < repairRoundsMax; round += 1) {
    const result = schema.safeParse(value)
    if (result.success) return { spec: result.data as SpecOf[K], problems }
    const removed = result.error.issues.map(({ path }) => cutAt(value, path.map(String), problems))
    if (!removed.includes(true)) break
  }
  const skeleton = schema.parse(skeletons[kind](name)) as SpecOf[K]
  return { spec: skeleton, problems: [...problems, problem('', skeleton, [value])] }
}

/** Each round removes at least one member, and a spec whose 64 members are wrong is beyond repair. */
const repairRoundsMax = 64

/** Exactly one mode: the first of these wins (https://docs.docker.com/reference/api/engine, ServiceSpec.Mode). */
const modes = ['Replicated', 'Global', 'ReplicatedJob', 'GlobalJob']

function chooseMode(spec: Record<string, unknown>, problems: Conflict[]): void {
  const mode = spec['Mode']
  if (typeof mode !== 'object' || mode === null || Array.isArray(mode)) return
  const given = modes.filter((name) => Object.hasOwn(mode, name))
  const [chosen] = given
  if (chosen === undefined) {
    delete spec['Mode']
    return
  }
  if (given.length === 1) return
  const held = mode as Record<string, unknown>
  const one = (name: string): object => ({ [name]: held[name] })
  spec['Mode'] = one(chosen)
  problems.push(problem('/Mode', one(chosen), given.slice(1).map(one)))
}

/**
 * Removes the member at `path`, or the smallest thing around it that can go: a list is one field and goes whole, and
 * where a required member is missing, what requires it goes.
 */
function cutAt(value: Record<string, unknown>, path: readonly string[], problems: Conflict[]): boolean {
  const chain: Record<string, unknown>[] = [value]
  for (const key of path.slice(0, -1)) {
    const next = chain.at(-1)?.[key]
    if (typeof next !== 'object' || next === null || Array.isArray(next)) break
    chain.push(next as Record<string, unknown>)
  }
  for (let depth = chain.length - 1; depth >= 0; depth -= 1) {
    const holder = chain[depth]
    const key = path[depth]
    if (holder === undefined || key === undefined || !Object.hasOwn(holder, key)) continue
    problems.push(problem(`/${path.slice(0, depth + 1).join('/')}`, null, [holder[key]]))
    delete holder[key]
    return true
  }
  return false
}

function problem(path: string, winner: unknown, losers: readonly unknown[]): Conflict {
  return { path, winner, losers: losers.map((value) => ({ value, author: undefined })) }
}

/** What stands for a spec of which nothing can be read: it must run nothing and admit nobody. */
const skeletons: { readonly [K in SpecKind]: (name: string) => object } = {
  service: (Name) => ({
    Name,
    TaskTemplate: { ContainerSpec: { Image: 'unreadable' } },
    Mode: { Replicated: { Replicas: 0 } },
  }),
  network: (Name) => ({ Name }),
  secret: (Name) => ({ Name }),
  config: (Name) => ({ Name }),
  node: () => ({ PublicKey: '' }),
  cluster: () => ({ ClusterId: '' }),
}
