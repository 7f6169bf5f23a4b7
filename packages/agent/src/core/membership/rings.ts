import type { NodeId } from '@moot/crdt-state'
import { hashText } from '../hash.ts'

/**
 * Who watches whom: K pseudo-random rings (Suresh et al., "Stable and Consistent Membership at Scale with Rapid",
 * ATC '18, section 4.1). On each ring a node is watched by its successor, so that a membership change moves few edges
 * and every node has the same number of observers. Integers only: the same on every machine.
 */
export interface Rings extends Edges {
  /** By id; the numbers below are places in it. */
  readonly nodes: readonly NodeId[]
  readonly placeOf: ReadonlyMap<NodeId, number>
  /** Whom each watches, by number: whole meshes are walked along these, many times a second while something is wrong. */
  readonly targetPlaces: readonly Uint32Array[]
}

interface Edges {
  readonly observers: ReadonlyMap<NodeId, readonly NodeId[]>
  readonly targets: ReadonlyMap<NodeId, readonly NodeId[]>
}

function ringOrder(sorted: readonly NodeId[], ring: number): readonly NodeId[] {
  return sorted
    .map((node) => ({ node, at: hashText(`${ring}/${node}`) }))
    .sort((a, b) => a.at - b.at || (a.node < b.node ? -1 : 1))
    .map(({ node }) => node)
}

function edgesOf(sorted: readonly NodeId[], count: number): Edges {
  const observers = new Map<NodeId, NodeId[]>(sorted.map((node) => [node, []]))
  const targets = new Map<NodeId, NodeId[]>(sorted.map((node) => [node, []]))
  const watch = (observer: NodeId, target: NodeId): void => {
    observers.get(target)?.push(observer)
    targets.get(observer)?.push(target)
  }
  if (sorted.length <= count + 1) {
    for (const target of sorted) {
      for (const observer of sorted) if (observer !== target) watch(observer, target)
    }
    return { observers, targets }
  }
  for (let ring = 0; ring < count; ring++) {
    const order = ringOrder(sorted, ring)
    for (const [position, target] of order.entries()) {
      const known = observers.get(target) ?? []
      // The successor that does not watch this node yet: there are more nodes than observers, so one is found.
      for (let step = 1; step < order.length; step++) {
        const candidate = order[(position + step) % order.length]
        if (candidate === undefined || known.includes(candidate)) continue
        watch(candidate, target)
        break
      }
    }
  }
  return { observers, targets }
}

function build(nodes: readonly NodeId[], count: number): Rings {
  const edges = edgesOf(nodes, count)
  const placeOf = new Map(nodes.map((node, place) => [node, place]))
  const places = (of: readonly NodeId[]): Uint32Array =>
    Uint32Array.from(of, (node) => placeOf.get(node) ?? 0)
  return {
    ...edges,
    nodes,
    placeOf,
    targetPlaces: nodes.map((node) => places(edges.targets.get(node) ?? [])),
  }
}

interface Remembered {
  readonly count: number
  /** In the order in which they were given: who asks again gives them in the same order. */
  readonly given: readonly NodeId[]
  readonly sorted: readonly NodeId[]
  readonly rings: Rings
}

/** A view asks for the same few memberships again and again (all, and all but the fallen). */
const remembered: Remembered[] = []
const rememberedMax = 8

function isSameList(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((node, index) => node === b[index])
}

/** A function of the set `members` and of `count`; with `count + 1` members or fewer everybody watches everybody. */
export function ringsOf(members: Iterable<NodeId>, count: number): Rings {
  const given = [...members]
  const known = remembered.find((one) => one.count === count && isSameList(one.given, given))
  if (known !== undefined) return known.rings
  const sorted = given.toSorted()
  const alike = remembered.find((one) => one.count === count && isSameList(one.sorted, sorted))
  const rings = alike?.rings ?? build(sorted, count)
  if (remembered.length >= rememberedMax) remembered.shift()
  remembered.push({ count, given, sorted, rings })
  return rings
}

/** The distinct nodes that watch `target`. */
export function observersOf(target: NodeId, members: Iterable<NodeId>, count: number): readonly NodeId[] {
  return ringsOf(members, count).observers.get(target) ?? []
}

/** The nodes that `self` watches. */
export function targetsOf(self: NodeId, members: Iterable<NodeId>, count: number): readonly NodeId[] {
  return ringsOf(members, count).targets.get(self) ?? []
}
