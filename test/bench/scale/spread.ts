import type { NodeId } from '@moot/crdt-state'
import { dialTargets } from '../../../packages/agent/src/adapters/libp2p/dial-targets.ts'
import { ringsOf } from '../../../packages/agent/src/core/membership/rings.ts'
import { defaults } from '../../../packages/agent/src/defaults.ts'

/** Gossipsub's own (`GossipsubD`, `GossipsubDhi`), which the adapter leaves as they are. */
const meshDegree = 6
const meshDegreeMax = 12
/** One hop: the wire and both agents' share (0.8 to 2 ms on one switch, a busy host more). */
const hopMinMs = 1
const hopMaxMs = 4

interface Link {
  readonly to: number
  readonly delayMs: number
}

export interface Topology {
  /** Per node. Kept to dial targets, and to whom the detector probes: a probe dials, and nobody hangs up. */
  readonly connections: readonly (readonly Link[])[]
  /** Per node: the part of its connections over which it forwards gossip. */
  readonly mesh: readonly (readonly Link[])[]
}

/** How one node's message spreads. */
export interface Spread {
  /** The receivers, by the time at which the first copy reaches them. */
  readonly waves: readonly { readonly delayMs: number; readonly nodes: readonly number[] }[]
  /** Copies sent in all. */
  readonly copies: number
}

export function createTopology(ids: readonly NodeId[], random: () => number): Topology {
  const indexOf = new Map(ids.map((id, index) => [id, index]))
  const delays = ids.map(() => new Map<number, number>())
  const { targets } = ringsOf(ids, defaults.observersPerNode)
  for (const [index, id] of ids.entries()) {
    const wanted = dialTargets(id, ids, defaults.meshFullDegree, defaults.meshRingDegree)
    for (const peer of [...wanted, ...(targets.get(id) ?? [])]) {
      const other = indexOf.get(peer)
      if (other === undefined || delays[index]?.has(other) === true) continue
      const delayMs = hopMinMs + Math.floor(random() * (hopMaxMs - hopMinMs + 1))
      delays[index]?.set(other, delayMs)
      delays[other]?.set(index, delayMs)
    }
  }
  const mesh = ids.map(() => new Map<number, number>())
  for (const [index, peers] of delays.entries()) {
    const mine = mesh[index]
    for (const [other, delayMs] of shuffled([...peers], random)) {
      const theirs = mesh[other]
      if (mine === undefined || theirs === undefined || mine.size >= meshDegree) break
      if (theirs.size >= meshDegreeMax) continue
      mine.set(other, delayMs)
      theirs.set(index, delayMs)
    }
  }
  return { connections: delays.map(linksOf), mesh: mesh.map(linksOf) }
}

function linksOf(delays: ReadonlyMap<number, number>): readonly Link[] {
  return [...delays].map(([to, delayMs]) => ({ to, delayMs }))
}

function shuffled<T>(items: T[], random: () => number): readonly T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

/**
 * The author sends to all its peers (`floodPublish`); whoever hears it first forwards it once to its mesh, not back to
 * whom it has it from. What IHAVE would repeat and IDONTWANT would save is left out.
 */
export function spreadFrom(
  { connections, mesh }: Topology,
  source: number,
  isAlive: (node: number) => boolean,
): Spread {
  const heardFrom = new Map<number, number>([[source, source]])
  const waves: { delayMs: number; nodes: number[] }[] = []
  const arriving: { readonly node: number; readonly from: number }[][] = []
  let copies = 0
  const send = (from: number, links: readonly Link[], nowMs: number): void => {
    for (const { to, delayMs } of links) {
      if (!isAlive(to) || heardFrom.get(from) === to) continue
      copies += 1
      ;(arriving[nowMs + delayMs] ??= []).push({ node: to, from })
    }
  }
  send(source, connections[source] ?? [], 0)
  for (let nowMs = 1; nowMs < arriving.length; nowMs += 1) {
    const nodes: number[] = []
    for (const { node, from } of arriving[nowMs] ?? []) {
      if (heardFrom.has(node)) continue
      heardFrom.set(node, from)
      nodes.push(node)
      send(node, mesh[node] ?? [], nowMs)
    }
    if (nodes.length > 0) waves.push({ delayMs: nowMs, nodes })
  }
  return { waves, copies }
}
