import type { NodeId } from '@moot/crdt-state'
import { assumes, type Assumption } from './assumed.ts'
import type { AttributeReader, DescribedNode } from './constraint.ts'
import type { NodeState } from './node-state.ts'
import type { Claim } from './placement.ts'
import type { Workload } from './workload.ts'

/**
 * How many slots of one service each branch has: a branch is a value of the first spread preference, under it a value
 * of the second, and so on (swarmkit manager/scheduler/decision_tree.go). This is the one score that looks at other
 * nodes, so it needs rule 4: while a slot is placed, the claims that assumed it filled are hidden, and so the counts
 * are those of the fold in which they were made.
 */
export class SpreadTally {
  readonly #attributes: readonly AttributeReader[]
  readonly #slots = new Map<string, number>()
  readonly #branches = new Map<NodeId, readonly string[]>()
  /** Claims that assume anything at all: few, and only while a service is being placed. */
  readonly #assuming: { readonly claim: Claim; readonly node: NodeState }[] = []
  #hidden: NodeState[] = []

  constructor(workload: Workload, claims: readonly Claim[], nodeOf: (id: NodeId) => NodeState | undefined) {
    this.#attributes = workload.spread
    for (const claim of claims) {
      const node = nodeOf(claim.node)
      if (node === undefined) continue
      this.#count(node, 1)
      if ((claim.task.assumed?.length ?? 0) > 0) this.#assuming.push({ claim, node })
    }
  }

  /** From now on as this vacancy is to see it. */
  lookFrom(vacancy: Assumption): void {
    for (const node of this.#hidden) this.#count(node, 1)
    this.#hidden = this.#assuming
      .filter(({ claim }) => assumes(claim.task.assumed, vacancy))
      .map(({ node }) => node)
    for (const node of this.#hidden) this.#count(node, -1)
  }

  /** A vacancy that the node is to fill. */
  add(node: NodeState): void {
    this.#count(node, 1)
  }

  /** Negative: `a` stands in the emptier branch. */
  compare(a: NodeState, b: NodeState): number {
    const branchesOfA = this.#branchesOf(a)
    const branchesOfB = this.#branchesOf(b)
    for (let level = 0; level < this.#attributes.length; level += 1) {
      const difference = this.#at(branchesOfA[level]) - this.#at(branchesOfB[level])
      if (difference !== 0) return difference
    }
    return 0
  }

  /** Where `a` parts from `b`, and how many slots its branch has there; undefined: they stand in the same one. */
  parting(a: NodeState, b: NodeState): { readonly level: number; readonly slots: number } | undefined {
    const branchesOfA = this.#branchesOf(a)
    const branchesOfB = this.#branchesOf(b)
    const level = branchesOfA.findIndex((branch, index) => branch !== branchesOfB[index])
    return level < 0 ? undefined : { level, slots: this.#at(branchesOfA[level]) }
  }

  #at(branch: string | undefined): number {
    return branch === undefined ? 0 : (this.#slots.get(branch) ?? 0)
  }

  #count(node: NodeState, by: 1 | -1): void {
    for (const branch of this.#branchesOf(node)) this.#slots.set(branch, this.#at(branch) + by)
  }

  #branchesOf(node: NodeState): readonly string[] {
    const known = this.#branches.get(node.id)
    if (known !== undefined) return known
    const branches = branchesOf(this.#attributes, node.node)
    this.#branches.set(node.id, branches)
    return branches
  }
}

/** Level by level. Nodes without the label are a branch of their own, as in Swarm. */
export function branchesOf(attributes: readonly AttributeReader[], node: DescribedNode): readonly string[] {
  const values = attributes.map((attribute) => attribute(node) ?? '')
  return values.map((_, level) => JSON.stringify(values.slice(0, level + 1)))
}
