/**
 * What one agent spends on each change that it hears of in a large cluster: `node test/bench/decisions.ts [NODES]
 * [TASKS]` (1,000 and 20,000). One JSON line per measure.
 */
import type { NodeId, NodeRecord, Resource, ServiceId, ServiceSpec, TaskEntry } from '@moot/crdt-state'
import { assess, livenessOf } from '../../packages/agent/src/core/membership/liveness.ts'
import { startDetector } from '../../packages/agent/src/core/membership/detector-state.ts'
import { stepDetector } from '../../packages/agent/src/core/membership/detector.ts'
import { node, replicas, service, task } from '../../packages/agent/src/core/placement/fixtures.ts'
import { createDecisions } from '../../packages/agent/src/decisions.ts'
import { memoryClock } from '../../packages/agent/src/ports/clock.memory.ts'
import { reconcile } from '../../packages/agent/src/core/reconcile/reconcile.ts'
import { noLeases } from '../../packages/agent/src/core/reconcile/testing.ts'
import { updateStatus } from '../../packages/agent/src/core/reconcile/progress.ts'
import { tasksOf } from '../../packages/agent/src/core/tasks-view.ts'
import type { View } from '../../packages/agent/src/core/view.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { createMemberAddresses } from '../../packages/agent/src/member-addresses.ts'

const [nodeCount = 1_000, taskCount = 20_000] = process.argv.slice(2).map(Number)
const replicasPerService = 100

const services = Array.from({ length: taskCount / replicasPerService }, (_, index) =>
  service(`service${index}`, replicas(replicasPerService)),
)
const members = Array.from({ length: nodeCount }, (_, index) => node(`node${index}`))
const tasks: TaskEntry[][] = members.map(() => [])
let next = 0
for (const of of services) {
  for (let slot = 1; slot <= replicasPerService; slot += 1) {
    const holder = next++ % nodeCount
    tasks[holder]?.push(task(of, slot, { message: 'started', seenEpoch: 1 }))
  }
}
const records = new Map<NodeId, NodeRecord>()
for (const [index, { id, record }] of members.entries()) {
  if (record === undefined) continue
  records.set(id, { ...record, tasks: new Map((tasks[index] ?? []).map((each) => [each.id, each])) })
}
const self = members[0]?.id as NodeId
let view: View = {
  self,
  services: new Map(services.map((each) => [each.id as ServiceId, each])),
  networks: new Map(),
  secrets: new Map(),
  configs: new Map(),
  nodes: new Map(members.map(({ id, settings }) => [id, settings])),
  cluster: undefined,
  records,
}

let turn = 0
function anotherRecord(): View {
  const at = members[1 + ((turn += 7) % (nodeCount - 1))]?.id as NodeId
  const before = view.records.get(at) as NodeRecord
  const [first] = before.tasks.values()
  const changed =
    first === undefined ? before.tasks : new Map(before.tasks).set(first.id, { ...first, stateAtMs: turn })
  return {
    ...view,
    records: new Map(view.records).set(at, { ...before, seq: before.seq + 1, tasks: changed }),
  }
}
function updated(count: number): View {
  const after = new Map(view.services)
  for (const each of services.slice(0, count)) {
    const template = { ...each.spec.TaskTemplate, ContainerSpec: { Image: 'web:2' } }
    const spec = { ...each.spec, TaskTemplate: template, UpdateConfig: { Parallelism: 1 } } as ServiceSpec
    after.set(each.id as ServiceId, { ...each, spec, previous: each.spec })
  }
  return { ...view, services: after }
}
const decisions = createDecisions({
  viewOf: () => view,
  clock: memoryClock(),
  settings: defaults,
  changed: () => undefined,
})
const decide = (): void => {
  const { liveness, unsettled, placement } = decisions.now()
  reconcile({
    view,
    liveness,
    unsettled,
    placement,
    containers: new Map(),
    health: new Map(),
    engine: { kind: 'up' },
    listed: true,
    inFlight: new Set(),
    results: new Map(),
    networks: undefined,
    guests: { wishes: [], seen: [] },
    idleBlocks: new Map(),
    leases: noLeases,
    synced: true,
    mayBeLost: () => false,
    nowMs: 1_000_000,
    specAt: (id) => services.find((each) => each.id === (id as string))?.spec,
    settings: defaults,
  })
}
decide()
report('another record changed: view', 200, () => (view = anotherRecord()))
report('another record changed: liveness', 200, () => livenessOf((view = anotherRecord())))
report('another record changed: all of it, with the reconciliation', 200, () => {
  view = anotherRecord()
  decide()
})
report('reconciliation alone', 200, decide)
const addresses = createMemberAddresses()
report('members’ addresses looked at', 200, () => addresses((view = anotherRecord())))
let detector = startDetector(view, 0)
report('detector: another record changed', 100, () => {
  view = anotherRecord()
  detector = stepDetector(detector, { kind: 'view', view, nowMs: 1, wallMs: 1 }, defaults).state
})
report('liveness with one accused node', 100, () => {
  const accused = anotherRecord()
  const [, first, second] = [...accused.records.values()]
  if (first === undefined || second === undefined) return
  const alert = { target: second.node, evidence: 'silent', epoch: 1, seq: 1_000_000, sinceMs: 0 } as const
  const alerts = new Map([[second.node, alert]])
  assess({ ...accused, records: new Map(accused.records).set(first.node, { ...first, alerts }) }, 4)
})
report('state of one service’s update', 100, () =>
  updateStatus(view, services[1] as Resource<ServiceSpec>, new Map()),
)
report('all tasks for a client', 10, () => {
  const { liveness, placement } = decisions.now()
  tasksOf(view, liveness, placement)
})
for (const count of [1, 10, 100]) {
  const before = view
  view = updated(count)
  decide()
  report(`another record changed while ${count} services are updated`, 30, () => {
    view = anotherRecord()
    decide()
  })
  view = before
}

function report(measure: string, runs: number, act: () => unknown): void {
  const took: number[] = []
  for (let run = 0; run < runs; run += 1) {
    const start = process.threadCpuUsage()
    act()
    const { user, system } = process.threadCpuUsage(start)
    took.push((user + system) / 1_000)
  }
  const mean = took.reduce((sum, ms) => sum + ms, 0) / runs
  console.log(
    JSON.stringify({ measure, nodes: nodeCount, tasks: taskCount, meanCpuMs: Number(mean.toFixed(2)), runs }),
  )
}
