import type { NodeRecord, TaskEntry } from '@moot/crdt-state'
import type { Liveness } from '../membership/liveness.ts'

/** What its node's record and life say of a task: whether it is sent what is meant for its service. */
export type Standing =
  /** It answers. */
  | { readonly kind: 'first' }
  /**
   * Only where nobody else does, because nobody can say whether it lives: its node is in doubt, its agent is down, or has started anew and only
   * remembers it. Of a host that is alone with a service, a restart of its agent loses nothing so.
   */
  | { readonly kind: 'second'; readonly why: Doubt }
  /** It runs, and is found by its own name only. */
  | { readonly kind: 'unready'; readonly why: string }
  /** It is not up, as far as one can say from here. */
  | { readonly kind: 'out'; readonly why: Absence }

export type Doubt = 'node-in-doubt' | 'agent-down' | 'not-seen-yet'
export type Absence = 'not-running' | 'not-wanted' | 'node-down' | 'node-unknown'

export function standingOf(
  task: TaskEntry,
  { epoch }: Pick<NodeRecord, 'epoch'>,
  life: Liveness['kind'],
): Standing {
  if (task.state !== 'running') return { kind: 'out', why: 'not-running' }
  if (task.desired !== 'running') return { kind: 'out', why: 'not-wanted' }
  if (life === 'down') return { kind: 'out', why: 'node-down' }
  if (life === 'unknown') return { kind: 'out', why: 'node-unknown' }
  if (task.unready !== undefined) return { kind: 'unready', why: task.unready.why }
  if (life === 'suspect') return { kind: 'second', why: 'node-in-doubt' }
  if (life === 'agent-down') return { kind: 'second', why: 'agent-down' }
  return task.seenEpoch === epoch ? { kind: 'first' } : { kind: 'second', why: 'not-seen-yet' }
}
