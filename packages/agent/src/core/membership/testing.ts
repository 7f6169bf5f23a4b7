import type { Alert, NodeId, NodeRecord } from '@moot/crdt-state'
import type { MembershipView } from './liveness.ts'

/** Views in shorthand, for tests: `about('b', 'silent', 3)` = an alert about node b's record 3. */
export const node = (name: string): NodeId => name as NodeId

export function about(target: string, evidence: Alert['evidence'], seq = 1, epoch = 1): Alert {
  return { target: node(target), evidence, epoch, seq, sinceMs: 0 }
}

export function recordOf(name: string, alerts: readonly Alert[] = [], seq = 1, epoch = 1): NodeRecord {
  return {
    node: node(name),
    epoch,
    seq,
    status: undefined,
    tasks: new Map(),
    alerts: new Map(alerts.map((alert) => [alert.target, alert])),
    updates: new Map(),
    rejections: new Map(),
    blocks: new Map(),
    guests: new Map(),
  }
}

export function viewOf(
  self: string,
  records: readonly NodeRecord[],
  silentMembers: readonly string[] = [],
): MembershipView {
  return {
    self: node(self),
    nodes: new Map(
      [...records.map((record) => record.node), ...silentMembers.map(node)].map((id) => [id, true]),
    ),
    records: new Map(records.map((record) => [record.node, record])),
  }
}
