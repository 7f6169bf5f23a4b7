/**
 * What the cluster as a whole costs, in one process under virtual time: `node test/bench/scale.ts [NODES [TASKS]]` (100
 * nodes with 1,000 and with 10,000 tasks, 1,000 nodes with 10,000). One JSON line per measure. The core, the stores, the
 * wire format and the topology are production's; the engine and the network are models without faults: what is right under
 * faults is the simulator's matter. design/scale.md says what is modelled how.
 */
import {
  generateIdentity,
  memoryStorage,
  openSpecStore,
  specDigest,
  type Resource,
  type ServiceSpec,
  type SpecMessage,
  type SpecStore,
  type TaskEntry,
} from '@moot/crdt-state'
import { replicas, service } from '../../packages/agent/src/core/placement/fixtures.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { encode } from '../../packages/agent/src/replication/wire.ts'
import { ScaleCluster } from './scale/cluster.ts'
import { datagramBytes, rounded } from './scale/figures.ts'
import { memoryOfOne, receivingCosts } from './scale/real-store.ts'

const runs = [
  [100, 1_000],
  [100, 10_000],
  [1_000, 10_000],
] as const
const replicasPerService = 100
const author = { node: 'node0000', client: 'bench', atMs: 0 }
/** What a client that deploys a stack waits for each service: an fsync here and one at a peer. */
const writeMs = 5
/** After the last message: an update's last step is watched for 5 s. */
const restMs = 8_000
const limitMs = 120_000
/** Gossipsub's share per message heard, unsigned, with its copies (measured over TCP: 1 ms of CPU). */
const gossipMs = 1
/** A ping or a pong on the control stream: length, tag, id. */
const pingBytes = 9

type Written = { readonly resource: Resource<ServiceSpec>; readonly messages: readonly SpecMessage[] }

const [onlyNodes, onlyTasks] = process.argv.slice(2).map(Number)
for (const [nodes, tasks] of chosen()) await run(nodes, tasks)

/** At least 20 nodes (one that dies must follow another) and two services. */
function chosen(): readonly (readonly [number, number])[] {
  if (onlyNodes === undefined) return runs
  if (onlyTasks !== undefined) return [[onlyNodes, onlyTasks]]
  const known = runs.filter(([nodes]) => nodes === onlyNodes)
  return known.length > 0 ? known : [[onlyNodes, 10_000]]
}

/** What one run measures on. */
interface Bed {
  readonly cluster: ScaleCluster
  readonly specs: SpecStore
  readonly taskCount: number
}

async function run(nodes: number, taskCount: number): Promise<void> {
  const started = process.cpuUsage()
  const startedMs = performance.now()
  const receiving = await receivingCosts(Math.ceil(taskCount / nodes))
  const cluster = new ScaleCluster(nodes, gossipMs + receiving.meanCpuMs)
  const specs = await openSpecs()
  const bed: Bed = { cluster, specs, taskCount }
  print(bed, 'one delta received', receiving)
  const [first] = cluster.agents
  if (first === undefined) throw new Error('a cluster has a node')
  reportTopology(cluster)
  idle(bed)

  const written: Written[] = []
  for (let index = 0; index < taskCount / replicasPerService; index += 1) {
    written.push(await specs.create('service', `service${index}`, specOf(index), author))
  }
  change(bed, `${taskCount} replicas deployed`, {
    target: taskCount,
    begin: () => {
      for (const [index, each] of written.entries())
        cluster.calendar.after(index * writeMs, () => cluster.write(first, each.resource, each.messages))
    },
  })
  const larger = { ...specOf(0), ...replicas(replicasPerService + 10) }
  await edit(bed, 'one service of 100 became 110', {
    name: 'service0',
    replicas: replicasPerService + 10,
    next: { Mode: larger.Mode },
  })
  const { TaskTemplate } = specOf(1)
  await edit(bed, 'one service of 100 got a new image, 10 at a time', {
    name: 'service1',
    replicas: replicasPerService,
    next: { TaskTemplate: { ...TaskTemplate, ContainerSpec: { Image: 'web:2' } } },
  })
  failure(bed)
  print(bed, 'memory of one agent', await memoryOfOne(first.view))

  const { user, system } = process.cpuUsage(started)
  print(bed, 'the whole run', {
    virtualMs: cluster.calendar.nowMs,
    totalCpuMs: Math.round((user + system) / 1_000),
    wallMs: Math.round(performance.now() - startedMs),
    maxResidentMiB: Math.round(process.resourceUsage().maxRSS / 1_024),
  })
  await specs.close()
}

function openSpecs(): Promise<SpecStore> {
  let actors = 0
  return openSpecStore({
    storage: memoryStorage(),
    identity: generateIdentity().identity,
    clusterId: 'bench',
    newActor: () => String((actors += 1)).padStart(32, '0'),
  })
}

function specOf(index: number): ServiceSpec {
  return service(
    `service${index}`,
    { ...replicas(replicasPerService), UpdateConfig: { Parallelism: 10 } },
    { Resources: { Reservations: { NanoCPUs: 10_000_000, MemoryBytes: 16 * 1024 * 1024 } } },
  ).spec
}

function reportTopology({ agents, topology }: ScaleCluster): void {
  const mean = (links: readonly (readonly unknown[])[]): number =>
    rounded(links.reduce((sum, each) => sum + each.length, 0) / agents.length)
  const line = { connectionsPerNode: mean(topology.connections), gossipNeighbours: mean(topology.mesh) }
  console.log(JSON.stringify({ measure: 'topology', nodes: agents.length, ...line }))
}

function idle(bed: Bed): void {
  const { cluster, specs } = bed
  const { agents, calendar, topology } = cluster
  calendar.run(10_000, () => false)
  takeCosts(cluster)
  cluster.probes = 0
  const seconds = 30
  calendar.run(seconds * 1_000, () => false)
  const probes = cluster.probes / seconds / agents.length
  const links = topology.connections.reduce((sum, each) => sum + each.length, 0) / 2
  // Of each connection one end asks the other once an interval.
  const pulses = (links * 1_000) / agents.length / defaults.meshPulseIntervalMs
  const digest = 'd'.repeat(64)
  const asked = encode({ step: 'compare', specs: specs.digest().root, records: digest }).length
  const comparisons = 1_000 / defaults.antiEntropyIntervalMs
  print(bed, 'idle: per node and second', {
    probes: rounded(probes),
    probeBytes: rounded(2 * datagramBytes * probes),
    pulses: rounded(pulses),
    pulseBytes: rounded(2 * pingBytes * pulses),
    comparisons,
    comparisonBytes: rounded((asked + encode({}).length) * comparisons),
    ...cluster.traffic.take(agents.length),
  })
}

async function edit(
  bed: Bed,
  what: string,
  { name, replicas: target, next }: { name: string; replicas: number; next: Partial<ServiceSpec> },
): Promise<void> {
  const { cluster, specs } = bed
  const before = specs.byName('service', name)
  const editor = cluster.agents[3]
  if (before === undefined || editor === undefined) throw new Error(`no service ${name}`)
  const { id, spec, versionIndex } = before
  const { resource, messages } = await specs.update('service', id, versionIndex, { ...spec, ...next }, author)
  change(bed, what, {
    service: resource,
    target,
    begin: () => cluster.write(editor, resource, messages),
  })
}

interface Change {
  /** Only its tasks count, and only those that were made from its newest spec. */
  readonly service?: Resource<ServiceSpec>
  readonly target: number
  readonly begin: () => void
}

function change(bed: Bed, what: string, { service: of, target, begin }: Change): void {
  const { cluster } = bed
  takeCosts(cluster)
  cluster.traffic.take(1)
  const beganMs = cluster.calendar.nowMs
  const goal = cluster.aim((task) => isOf(task, of), target)
  begin()
  cluster.settle(what, restMs, limitMs)
  print(bed, what, {
    runMs: (goal.ranAtMs ?? 0) - beganMs,
    knownMs: (goal.knownAtMs ?? 0) - beganMs,
    busyMsPerNode: Math.round(cluster.busyMs),
    ...cluster.traffic.take(cluster.agents.length),
  })
  printCosts(bed, what)
}

function isOf({ service: id, digest }: TaskEntry, of: Resource<ServiceSpec> | undefined): boolean {
  return of === undefined || (id === of.id && digest === specDigest(of.spec))
}

/** A host loses its power: its observers notice, everybody judges, its tasks run elsewhere. */
function failure(bed: Bed): void {
  const { cluster, taskCount } = bed
  const victim = cluster.agents[Math.floor(cluster.agents.length / 2) + 1]
  if (victim === undefined || victim.isWhole) throw new Error('a whole agent must not die: others follow it')
  const lost = [...victim.record.tasks.values()].filter(({ state }) => state === 'running').length
  takeCosts(cluster)
  cluster.traffic.take(1)
  const beganMs = cluster.calendar.nowMs
  const what = 'a node lost its power'
  cluster.kill(victim)
  const goal = cluster.aim(() => true, taskCount + 10)
  const judges = cluster.agents.filter(({ isWhole }) => isWhole)
  const isDown = (): boolean =>
    judges.every(({ decided }) => decided?.liveness.get(victim.id)?.kind === 'down')
  if (!cluster.calendar.run(limitMs, isDown)) throw new Error(`${what}: nobody noticed`)
  const detectedMs = cluster.calendar.nowMs - beganMs
  cluster.settle(what, restMs, limitMs)
  print(bed, what, {
    tasksLost: lost,
    downEverywhereMs: detectedMs,
    runMs: (goal.ranAtMs ?? 0) - beganMs,
    knownMs: (goal.knownAtMs ?? 0) - beganMs,
    busyMsPerNode: Math.round(cluster.busyMs),
    ...cluster.traffic.take(cluster.agents.length),
  })
  printCosts(bed, what)
}

function takeCosts(cluster: ScaleCluster): void {
  cluster.decisionCosts.take()
  cluster.detectorCosts.take()
  cluster.busyMs = 0
}

function printCosts(bed: Bed, what: string): void {
  const { decisionCosts, detectorCosts } = bed.cluster
  print(bed, `${what}: one decision`, decisionCosts.take())
  print(bed, `${what}: the detector’s look`, detectorCosts.take())
}

function print(
  { cluster, taskCount }: Bed,
  measure: string,
  figures: Readonly<Record<string, number>>,
): void {
  console.log(JSON.stringify({ measure, nodes: cluster.agents.length, tasks: taskCount, ...figures }))
}
