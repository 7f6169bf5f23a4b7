/**
 * What the cluster as a whole costs, in one process under virtual time: `node test/bench/scale.ts [NODES…]` (100 and
 * 1,000). One JSON line per measure. The core, the wire format and the topology are production's; the engine and the network are
 * models without faults: what is right under faults is the simulator's matter.
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
import { rounded } from './scale/figures.ts'

const taskCount = 10_000
const replicasPerService = 100
const author = { node: 'node0000', client: 'bench', atMs: 0 }
/** What a client that deploys a stack waits for each service: an fsync here and one at a peer. */
const writeMs = 5
/** After the last message: an update's last step is watched for 5 s. */
const restMs = 8_000
const limitMs = 120_000
/** A ping or a pong on the control stream: length, tag, id. */
const pingBytes = 9

type Written = { readonly resource: Resource<ServiceSpec>; readonly messages: readonly SpecMessage[] }

const sizes = process.argv.slice(2).filter((argument) => /^\d+$/.test(argument))
for (const size of sizes.length > 0 ? sizes : ['100', '1000']) await run(Number(size))

async function run(nodes: number): Promise<void> {
  const started = process.cpuUsage()
  const startedMs = performance.now()
  const cluster = new ScaleCluster(nodes)
  const specs = await openSpecs()
  const [first] = cluster.agents
  if (first === undefined) throw new Error('a cluster has a node')
  reportTopology(cluster)
  idle(cluster, specs)

  const written: Written[] = []
  for (let index = 0; index < taskCount / replicasPerService; index += 1) {
    written.push(await specs.create('service', `service${index}`, specOf(index), author))
  }
  change(cluster, `${taskCount} replicas deployed`, {
    target: taskCount,
    begin: () => {
      for (const [index, each] of written.entries())
        cluster.calendar.after(index * writeMs, () => cluster.write(first, each.resource, each.messages))
    },
  })
  const larger = { ...specOf(7), ...replicas(replicasPerService + 10) }
  await edit(cluster, specs, 'one service of 100 became 110', {
    name: 'service7',
    replicas: replicasPerService + 10,
    next: { Mode: larger.Mode },
  })
  const { TaskTemplate } = specOf(42)
  await edit(cluster, specs, 'one service of 100 got a new image, 10 at a time', {
    name: 'service42',
    replicas: replicasPerService,
    next: { TaskTemplate: { ...TaskTemplate, ContainerSpec: { Image: 'web:2' } } },
  })
  failure(cluster)

  const { user, system } = process.cpuUsage(started)
  print(cluster, 'the whole run', {
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

function idle(cluster: ScaleCluster, specs: SpecStore): void {
  const { agents, calendar, topology } = cluster
  calendar.run(10_000, () => false)
  takeCosts(cluster)
  cluster.probes = 0
  const seconds = 30
  calendar.run(seconds * 1_000, () => false)
  const probes = cluster.probes / seconds / agents.length
  const links = topology.connections.reduce((sum, each) => sum + each.length, 0) / 2
  // Of each connection that no probe keeps awake, one end asks the other once an interval.
  const quiet = Math.max(0, links / agents.length - defaults.observersPerNode)
  const pulses = (quiet * 1_000) / defaults.meshPulseIntervalMs
  const digest = 'd'.repeat(64)
  const asked = encode({ step: 'compare', specs: specs.digest().root, records: digest }).length
  const comparisons = 1_000 / defaults.antiEntropyIntervalMs
  print(cluster, 'idle: per node and second', {
    probes: rounded(probes),
    probeBytes: rounded(2 * pingBytes * probes),
    pulses: rounded(pulses),
    pulseBytes: rounded(2 * pingBytes * pulses),
    comparisons,
    comparisonBytes: rounded((asked + encode({}).length) * comparisons),
    ...cluster.traffic.take(agents.length),
  })
}

async function edit(
  cluster: ScaleCluster,
  specs: SpecStore,
  what: string,
  { name, replicas: target, next }: { name: string; replicas: number; next: Partial<ServiceSpec> },
): Promise<void> {
  const before = specs.byName('service', name)
  const editor = cluster.agents[3]
  if (before === undefined || editor === undefined) throw new Error(`no service ${name}`)
  const { id, spec, versionIndex } = before
  const { resource, messages } = await specs.update('service', id, versionIndex, { ...spec, ...next }, author)
  change(cluster, what, {
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

function change(cluster: ScaleCluster, what: string, { service: of, target, begin }: Change): void {
  takeCosts(cluster)
  cluster.traffic.take(1)
  const beganMs = cluster.calendar.nowMs
  const goal = cluster.aim((task) => isOf(task, of), target)
  begin()
  cluster.settle(what, restMs, limitMs)
  print(cluster, what, {
    runMs: (goal.ranAtMs ?? 0) - beganMs,
    knownMs: (goal.knownAtMs ?? 0) - beganMs,
    ...cluster.traffic.take(cluster.agents.length),
  })
  printCosts(cluster, what)
}

function isOf({ service: id, digest }: TaskEntry, of: Resource<ServiceSpec> | undefined): boolean {
  return of === undefined || (id === of.id && digest === specDigest(of.spec))
}

/** A host loses its power: its observers notice, everybody judges, its tasks run elsewhere. */
function failure(cluster: ScaleCluster): void {
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
  print(cluster, what, {
    tasksLost: lost,
    downEverywhereMs: detectedMs,
    runMs: (goal.ranAtMs ?? 0) - beganMs,
    knownMs: (goal.knownAtMs ?? 0) - beganMs,
    ...cluster.traffic.take(cluster.agents.length),
  })
  printCosts(cluster, what)
}

function takeCosts({ decisionCosts, detectorCosts }: ScaleCluster): void {
  decisionCosts.take()
  detectorCosts.take()
}

function printCosts(cluster: ScaleCluster, what: string): void {
  print(cluster, `${what}: one decision`, cluster.decisionCosts.take())
  print(cluster, `${what}: the detector’s look`, cluster.detectorCosts.take())
}

function print({ agents }: ScaleCluster, measure: string, figures: Readonly<Record<string, number>>): void {
  console.log(JSON.stringify({ measure, nodes: agents.length, tasks: taskCount, ...figures }))
}
