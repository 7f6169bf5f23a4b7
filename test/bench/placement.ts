/**
 * What placement costs in a large cluster: `node test/bench/placement.ts [NODES] [TASKS]` (1,000 and 100,000). One
 * JSON line per measure.
 */
import {
  execute,
  input,
  node,
  nodeId,
  replicas,
  service,
  task,
  withTasks,
} from '../../packages/agent/src/core/placement/fixtures.ts'
import { createPlacer, place } from '../../packages/agent/src/core/placement/place.ts'
import type { PlacementInput, PlacementNode } from '../../packages/agent/src/core/placement/placement.ts'
import type { Resource, ServiceId, ServiceSpec, TaskEntry } from '@moot/crdt-state'
import { percentile } from '../percentile.ts'

const [nodeCount = 1_000, taskCount = 100_000] = process.argv.slice(2).map(Number)
const replicasPerService = 100
const serviceCount = taskCount / replicasPerService

const services = Array.from({ length: serviceCount }, (_, index) =>
  service(`service${index}`, replicas(replicasPerService), {
    Resources: { Reservations: { NanoCPUs: 10_000_000, MemoryBytes: 16 * 1024 * 1024 } },
    ...(index % 3 === 0 ? { Placement: { Constraints: ['node.labels.disk != tape'] } } : {}),
    ...(index % 10 === 0
      ? { Placement: { Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }] } }
      : {}),
  }),
)
const state = runningCluster()
const placer = createPlacer()

report('full: every slot is held', 5, () => place(state))
report('first update of a placer', 3, () => createPlacer().update(state))
placer.update(state)
report('update: nothing changed', 500, () => placer.update({ ...state }))

let turn = 0
const one = (): PlacementNode => nodeAt((turn += 7) % nodeCount)
reportChange('update: one task changed its state', 500, () => {
  const before = one()
  const [some] = before.record?.tasks.values() ?? []
  return withNode(withTasks(before, some === undefined ? [] : [{ ...some, stateAtMs: turn }]))
})
reportChange('update: one service got a new image', 500, () => {
  const before = services[(turn += 7) % serviceCount]!
  const template = { ...before.spec.TaskTemplate, ContainerSpec: { Image: `web:${turn}` } }
  return withService({ ...before, spec: { ...before.spec, TaskTemplate: template } })
})
reportChange('update: one service of 100 became 110', 100, () => {
  const before = services[(turn += 7) % serviceCount]!
  return withService({ ...before, spec: { ...before.spec, ...replicas(110) } })
})
reportChange('update: a node of 100 tasks died', 20, () =>
  withNode({ ...one(), liveness: { kind: 'down', observers: [] } }),
)
reportChange('update: a node of 100 tasks is drained', 20, () => {
  const before = one()
  const spec = { ...before.settings.spec, Availability: 'drain' as const }
  return withNode({ ...before, settings: { ...before.settings, spec } })
})
reportChange('update: a node joined', 100, () => withNode(node(`join${(turn += 1)}`)))
reportChange('update: 5 services of 100 that fit nowhere', 10, () => {
  const misfits = Array.from({ length: 5 }, (_, index) =>
    service(`misfit${index}`, replicas(100), { Resources: { Reservations: { NanoCPUs: 1e15 } } }),
  )
  const added = new Map(state.services)
  for (const misfit of misfits) added.set(misfit.id as ServiceId, misfit)
  return { ...state, services: added }
})
reportChange('update: a new service of 1,000 replicas', 5, () =>
  withService(service('fresh', replicas(1_000))),
)
report('reading every slot of a placement', 10, () => [...placer.update(state).slots])
report('full: 100 services of 100 replicas, nothing placed yet', 3, () =>
  place({
    services: input(services.slice(0, 100), []).services,
    nodes: input(
      [],
      Array.from({ length: nodeCount }, (_, index) => emptyNode(index)),
    ).nodes,
  }),
)

/** A deployment under way: how one agent hears of the others' claims. */
{
  let after = withService(service('rollout', replicas(1_000)))
  let placement = placer.update(after)
  const took: Took[] = []
  for (const id of [...after.nodes.keys()].slice(0, 100)) {
    after = execute(after, placement, id, 2)
    took.push(measured(() => (placement = placer.update(after))))
  }
  print('update: a node claimed its part of 1,000 new replicas', took)
  placer.update(state)
}

/** Alternates between the state and a change of it, and measures only the change. */
function reportChange(what: string, runs: number, change: () => PlacementInput): void {
  const took: Took[] = []
  for (let run = 0; run < runs; run += 1) {
    const after = change()
    took.push(measured(() => placer.update(after)))
    placer.update(state)
  }
  print(what, took)
}

function report(what: string, runs: number, act: () => unknown): void {
  print(
    what,
    Array.from({ length: runs }, () => measured(act)),
  )
}

/**
 * Of the clock, and of the CPU: other people's work on the machine counts in the first only, and the second's own clock
 * ticks every few milliseconds, so its mean is told.
 */
interface Took {
  readonly wallMs: number
  readonly cpuMs: number
}

function measured(act: () => unknown): Took {
  const cpu = process.threadCpuUsage()
  const start = performance.now()
  act()
  const wallMs = performance.now() - start
  const { user, system } = process.threadCpuUsage(cpu)
  return { wallMs, cpuMs: (user + system) / 1000 }
}

function print(measure: string, took: readonly Took[]): void {
  const cpu = took.reduce((sum, { cpuMs }) => sum + cpuMs, 0) / took.length
  const rounded = (ms: number): number => Number(ms.toFixed(2))
  const wallMs = took.map((one) => one.wallMs)
  const medianMs = rounded(percentile(wallMs, 0.5) ?? 0)
  console.log(
    JSON.stringify({
      measure,
      nodes: nodeCount,
      tasks: taskCount,
      medianMs,
      meanCpuMs: rounded(cpu),
      runs: took.length,
    }),
  )
}

function emptyNode(index: number): PlacementNode {
  return node(`node${index}`, {
    labels: { zone: `zone${index % 5}`, disk: index % 50 === 0 ? 'tape' : 'ssd' },
    nanoCpus: 16e9,
    memoryBytes: 64 * 1024 ** 3,
    maxTasks: 1_000,
  })
}

/** Round robin: how it came about makes no difference to what is held. */
function runningCluster(): PlacementInput {
  const tasks = Array.from({ length: nodeCount }, () => [] as TaskEntry[])
  const takers = tasks.filter((_, index) => index % 50 !== 0)
  let next = 0
  for (const of of services) {
    for (let slot = 1; slot <= replicasPerService; slot += 1)
      takers[next++ % takers.length]?.push(task(of, slot))
  }
  return input(
    services,
    tasks.map((some, index) => withTasks(emptyNode(index), some)),
  )
}

function nodeAt(index: number): PlacementNode {
  return state.nodes.get(nodeId(`node${index}`))!
}

function withNode(changed: PlacementNode): PlacementInput {
  return { ...state, nodes: new Map(state.nodes).set(changed.id, changed) }
}

function withService(changed: Resource<ServiceSpec>): PlacementInput {
  return { ...state, services: new Map(state.services).set(changed.id as ServiceId, changed) }
}
