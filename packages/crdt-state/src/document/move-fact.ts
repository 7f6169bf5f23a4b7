import type { NodeId } from '../ids.ts'

/** Beside a service's spec: this node is to give this slot up for the sake of evenness. */
export interface AskedMove {
  readonly slot: number
  /** Comes back only in a slot that was scaled away long ago: an old fact means nothing. */
  readonly attempt: number
  /** 1, and one more each time that it is asked anew of a task that no node took before. */
  readonly asked: number
  /** An attempt may be two nodes', after a partition. */
  readonly from: NodeId
}

const keyPattern = /^move\/(\d{1,9})\/(\d{1,9})\/([^/]{1,64})\/(\d{1,4})$/
const known = new WeakMap<ReadonlyMap<string, unknown>, readonly AskedMove[]>()
const none: readonly AskedMove[] = []

export function moveFact({ slot, attempt, asked, from }: AskedMove): readonly [string, unknown] {
  return [`move/${slot}/${attempt}/${from}/${asked}`, true]
}

/** Read once per version of a service's facts: they are asked for in every reconciliation. */
export function askedMoves(facts: ReadonlyMap<string, unknown>): readonly AskedMove[] {
  if (facts.size === 0) return none
  let moves = known.get(facts)
  if (moves === undefined) known.set(facts, (moves = readMoves(facts)))
  return moves
}

function readMoves(facts: ReadonlyMap<string, unknown>): readonly AskedMove[] {
  const moves: AskedMove[] = []
  for (const key of facts.keys()) {
    const [, slot, attempt, from, asked] = keyPattern.exec(key) ?? []
    if (from === undefined) continue
    moves.push({ slot: Number(slot), attempt: Number(attempt), from: from as NodeId, asked: Number(asked) })
  }
  return moves.length === 0 ? none : moves
}
