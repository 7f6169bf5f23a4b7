/**
 * What the network costs one agent with each change that it hears of: `node test/bench/network.ts [SERVICES] [ENDPOINTS]
 * [NODES] [NETWORKS]` (1,000, 10, 100 and 50). One JSON line per measure.
 */
import {
  addressFact,
  type NetworkSpec,
  type NodeId,
  type NodeRecord,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type TaskEntry,
} from '@moot/crdt-state'
import { createNetwork, type Network } from '../../packages/agent/src/core/network/network.ts'
import {
  addressIn,
  claim,
  hostId,
  livenessOf,
  network,
  onNetworks,
  type Scene,
  taskAt,
  viewOf,
} from '../../packages/agent/src/core/network/scene.testing.ts'
import { formatAddress, parseRange } from '../../packages/agent/src/core/network/ipv4.ts'
import type { View } from '../../packages/agent/src/core/view.ts'

const [serviceCount = 1_000, endpoints = 10, nodeCount = 100, networkCount = 50] = process.argv
  .slice(2)
  .map(Number)
const blocksEach = 7

function placeOf(service: number): readonly [Resource<NetworkSpec>, string] {
  const at = service % networkCount
  return [networks[at] as Resource<NetworkSpec>, subnets[at] as string]
}

const subnets = Array.from({ length: networkCount }, (_, n) => `10.${128 + (n >> 2)}.${(n & 3) * 64}.0/18`)
const networks = subnets.map((value, n) => network(`network${n}`, {}, [addressFact.subnet({ n: 1, value })]))
const services = Array.from({ length: serviceCount }, (_, n) => {
  const [on, subnet] = placeOf(n)
  const first = parseRange(subnet)?.first ?? 0
  const value = formatAddress(first + 1 + Math.floor(n / networkCount))
  const ports =
    n % 10 === 0 ? { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 10_000 + n }] } } : {}
  return onNetworks(`service${n}`, [on], ports, [addressFact.virtualIp(on.id, { n: 1, value })])
})
const tasks: TaskEntry[][] = Array.from({ length: nodeCount }, () => [])
/** Addresses given so far, by node and network. */
const given = new Map<string, number>()
for (const [n, of] of services.entries()) {
  const [on, subnet] = placeOf(n)
  for (let slot = 1; slot <= endpoints; slot += 1) {
    const at = (n * endpoints + slot) % nodeCount
    const count = given.get(`${at}/${on.id}`) ?? 0
    given.set(`${at}/${on.id}`, count + 1)
    // The first address of a node is its bridge's.
    const block = at * blocksEach + Math.floor((count + 1) / 16)
    tasks[at]?.push(taskAt(of, slot, [[on, addressIn(subnet, block, (count + 1) % 16)]]))
  }
}
const hosts = tasks.map((entries, at) => ({
  name: `node${at}`,
  address: `192.168.${at >> 8}.${at & 255}`,
  tasks: entries,
  blocks: networks.map((each, n) =>
    claim(each, subnets[n] as string, ...Array.from({ length: blocksEach }, (_, k) => at * blocksEach + k)),
  ),
}))
const scene = { networks, services, hosts } as unknown as Scene
const liveness = livenessOf(scene)
let view = viewOf(scene)
const ids = hosts.map(hostId)
let turn = 0

/** A task somewhere becomes unready, or ready again. */
function taskChanged(): View {
  const at = ids[1 + ((turn += 7) % (nodeCount - 1))] as NodeId
  const record = view.records.get(at) as NodeRecord
  const some = [...record.tasks.values()][turn % record.tasks.size] as TaskEntry
  const { unready, ...ready } = some
  const changed: TaskEntry =
    unready === undefined ? { ...some, unready: { sinceMs: turn, why: '503' } } : ready
  return withRecord({ ...record, tasks: new Map(record.tasks).set(some.id, changed) })
}
function withRecord(record: NodeRecord): View {
  const next = { ...record, seq: record.seq + 1 }
  return { ...view, records: new Map(view.records).set(record.node, next) }
}
function serviceChanged(): View {
  const of = services[(turn += 7) % serviceCount] as Resource<ServiceSpec>
  const id = of.id as ServiceId
  const before = view.services.get(id) as Resource<ServiceSpec>
  const spec = { ...before.spec, Mode: { Replicated: { Replicas: turn } } }
  return { ...view, services: new Map(view.services).set(id, { ...before, spec }) }
}
function statusChanged(): View {
  const record = view.records.get(ids[1 + ((turn += 7) % (nodeCount - 1))] as NodeId) as NodeRecord
  if (record.status === undefined) throw new Error('a node without a status')
  return withRecord({ ...record, status: { ...record.status, volumes: [`v${turn}`] } })
}

const agent = createNetwork()
const update = (network: Network = agent, lives = liveness) =>
  network.update({ view, liveness: lives, marks: new Map(), reach: 'hosts' })
report('first look: everything read', 5, () => update(createNetwork()))
const { plane, waits } = update()
if (plane === undefined) throw new Error('a node that nobody reaches')
const answered = plane.frontends.filter(({ backends }) => backends.length > 0).length
if (answered < serviceCount || waits.services.size > 0) {
  throw new Error(`only ${answered} of ${plane.frontends.length} frontends are answered`)
}
report('nothing changed', 200, () => update())
report('one task changed', 500, () => {
  view = taskChanged()
  update()
})
report('one service was scaled', 200, () => {
  view = serviceChanged()
  update()
})
report('a node said something else of itself', 200, () => {
  view = statusChanged()
  update()
})
report('a node of 100 tasks died, or came back', 50, () => {
  const dead = ids[1 + ((turn += 7) % (nodeCount - 1))] as NodeId
  update(agent, new Map(liveness).set(dead, { kind: 'down', observers: [] }))
})
update()
agent.nameTable(() => undefined)
report('names, after one task changed', 100, () => {
  view = taskChanged()
  update()
  agent.nameTable(() => undefined)
})

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
    JSON.stringify({
      measure,
      services: serviceCount,
      endpoints: serviceCount * endpoints,
      nodes: nodeCount,
      networks: networkCount,
      meanCpuMs: Number(mean.toFixed(2)),
      runs,
    }),
  )
}
