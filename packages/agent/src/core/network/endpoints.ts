import {
  type NodeId,
  type NodeRecord,
  type ResourceId,
  type ServiceId,
  type Slot,
  type TaskEntry,
  type TaskId,
} from '@moot/crdt-state'
import type { Liveness, LivenessMap } from '../membership/liveness.ts'
import { compareSlots } from '../placement/order.ts'
import { tasksByService } from '../service-tasks.ts'
import type { View } from '../view.ts'
import { type Attachments, isNowhere } from './attachments.ts'
import type { BlockTable } from './blocks.ts'
import { blockOf } from './geometry.ts'
import { formatAddress, parseAddress } from './ipv4.ts'
import type { Address } from './plane.ts'
import { standingOf } from './standing.ts'

/** A task at its address on one network. */
export interface Endpoint {
  readonly node: NodeId
  readonly task: TaskId
  readonly slot: Slot
  readonly address: Address
}

/** Of one service on one network; both in the order of slots, the same on all nodes. */
export interface NetworkEndpoints {
  /** Who answers for the service. */
  readonly ready: readonly Endpoint[]
  /** Whoever runs, whether it is sent traffic or not: a task is found by its own name all the same. */
  readonly up: readonly Endpoint[]
  /** Of the network that its ports are published on: who answers there, however it is reached. */
  readonly answering?: readonly Answering[]
}

/** A task that answers for its service. On a node without networks over hosts it has no address on any. */
export interface Answering {
  readonly node: NodeId
  readonly task: TaskId
  /** On the network. */
  readonly address: Address | undefined
  /** Where its own host reaches it. */
  readonly hostAddress: Address | undefined
}

export type ServiceEndpoints = ReadonlyMap<ResourceId, NetworkEndpoints>
/** Endpoints ask whose a block is, so it is `geometry` and `owners` that keep their identity where nothing changed. */
export type Tables = ReadonlyMap<ResourceId, Pick<BlockTable, 'geometry' | 'owners'>>

/** A task that is up. */
interface Candidate {
  readonly node: NodeId
  readonly task: TaskEntry
  readonly kind: 'first' | 'second' | 'unready'
}

/** The address that its record says it has on this network, whosever it is. */
export function givenAddress({ addresses = [] }: TaskEntry, network: ResourceId): number | undefined {
  const text = addresses.find(({ id }) => id === network)?.address
  return text === undefined ? undefined : parseAddress(text.split('/')[0] ?? '')
}

/** Where a task's own host reaches it: on one of the cluster's networks, or else on one that is the engine's alone. */
export function hostAddress({ addresses = [] }: Pick<TaskEntry, 'addresses'>): Address | undefined {
  const given = addresses.filter(({ id }) => id !== undefined)
  const all = [...given, ...addresses].map(({ address }) => parseAddress(address.split('/')[0] ?? ''))
  const first = all.find((address) => address !== undefined)
  return first === undefined ? undefined : formatAddress(first)
}

/** The task's address on this network, if it is out of a block that its node has: another node would be sent what is meant for it. */
export function addressOn(
  task: TaskEntry,
  network: ResourceId,
  node: NodeId,
  table: Pick<BlockTable, 'geometry' | 'owners'> | undefined,
): Address | undefined {
  const number = givenAddress(task, network)
  const address = number === undefined ? undefined : formatAddress(number)
  return address !== undefined && isOwnerOf(node, address, table) ? address : undefined
}

export function isOwnerOf(
  node: NodeId,
  address: Address,
  table: Pick<BlockTable, 'geometry' | 'owners'> | undefined,
): boolean {
  const number = parseAddress(address)
  const block = table === undefined || number === undefined ? undefined : blockOf(table.geometry, number)
  return block !== undefined && table?.owners.get(block) === node
}

/**
 * Networks on which a task of this node has an address that is another node's, or nobody's: its block was lost, or the network has
 * another subnet by now. Such a task is replaced. Of a network that has no subnet at the moment nothing is said: there is no address to be had.
 */
export function lostAddresses(task: TaskEntry, node: NodeId, tables: Tables): readonly ResourceId[] {
  return (task.addresses ?? []).flatMap(({ id }) => {
    const table = id === undefined ? undefined : tables.get(id)
    const isLost = id !== undefined && table !== undefined && addressOn(task, id, node, table) === undefined
    return isLost ? [id] : []
  })
}

export interface EndpointInput {
  readonly view: Pick<View, 'nodes' | 'records'>
  readonly liveness: LivenessMap
  /** `attachments` keep their identity while a service's networks are the same. */
  readonly services: ReadonlyMap<ServiceId, { readonly attachments: Attachments }>
  readonly tables: Tables
}

interface Known {
  readonly record: NodeRecord
  readonly life: Liveness['kind']
}

const nobody: ReadonlyMap<NodeId, readonly TaskEntry[]> = new Map()
const noTasks: readonly TaskEntry[] = []

/**
 * Who answers for each service, from records and liveness. Remembers between calls what did not change, told by identity: a
 * task's change costs its node's tasks and its service's.
 */
export class Endpoints {
  readonly #known = new Map<NodeId, Known>()
  readonly #holders = new Map<ServiceId, Map<NodeId, readonly TaskEntry[]>>()
  readonly #dirty = new Set<ServiceId>()
  #services: EndpointInput['services'] = new Map()
  #tables: Tables = new Map()
  #result: ReadonlyMap<ServiceId, ServiceEndpoints> = new Map()

  /** The same map where nothing changed, and in it the same value of each service of which nothing did. */
  update(input: EndpointInput): ReadonlyMap<ServiceId, ServiceEndpoints> {
    this.#readNodes(input)
    this.#readServices(input)
    if (this.#dirty.size === 0) return this.#result
    const result = new Map(this.#result)
    let isChanged = false
    for (const service of this.#dirty) {
      const before = result.get(service)
      const after = this.#endpointsOf(service, input)
      if (after === undefined) isChanged = result.delete(service) || isChanged
      else if (before === undefined || !sameEndpoints(before, after)) {
        result.set(service, after)
        isChanged = true
      }
    }
    this.#dirty.clear()
    if (isChanged) this.#result = result
    return this.#result
  }

  #readNodes({ view, liveness }: EndpointInput): void {
    for (const [node, record] of view.records) {
      if (!view.nodes.has(node)) continue
      const life = liveness.get(node)?.kind ?? 'unknown'
      const before = this.#known.get(node)
      if (before?.record === record && before.life === life) continue
      const isSameLife = before?.life === life && before.record.epoch === record.epoch
      if (before?.record.tasks !== record.tasks) this.#readTasks(node, before?.record, record)
      if (!isSameLife) for (const service of tasksByService(record).keys()) this.#dirty.add(service)
      this.#known.set(node, { record, life })
    }
    for (const [node, { record }] of this.#known) {
      if (isSpoken(view, node)) continue
      this.#readTasks(node, record, undefined)
      this.#known.delete(node)
    }
  }

  #readTasks(node: NodeId, before: NodeRecord | undefined, after: NodeRecord | undefined): void {
    const old = before === undefined ? undefined : tasksByService(before)
    const now = after === undefined ? undefined : tasksByService(after)
    for (const service of old?.keys() ?? []) {
      if (now?.has(service) === true) continue
      const holders = this.#holders.get(service)
      holders?.delete(node)
      if (holders?.size === 0) this.#holders.delete(service)
      this.#dirty.add(service)
    }
    for (const [service, tasks] of now ?? []) {
      const past = old?.get(service) ?? noTasks
      if (past.length === tasks.length && past.every((task, at) => task === tasks[at])) continue
      const holders = this.#holders.get(service)
      if (holders === undefined) this.#holders.set(service, new Map([[node, tasks]]))
      else holders.set(node, tasks)
      this.#dirty.add(service)
    }
  }

  #readServices({ services, tables }: EndpointInput): void {
    const isMoved = (network: ResourceId): boolean => {
      const [before, after] = [this.#tables.get(network), tables.get(network)]
      return before?.owners !== after?.owners || before?.geometry !== after?.geometry
    }
    if (services !== this.#services) {
      for (const [service, { attachments }] of services) {
        if (this.#services.get(service)?.attachments !== attachments) this.#dirty.add(service)
      }
      for (const service of this.#services.keys()) if (!services.has(service)) this.#dirty.add(service)
    }
    if (tables !== this.#tables) {
      const moved = new Set([...this.#tables.keys(), ...tables.keys()].filter(isMoved))
      for (const [service, { attachments }] of moved.size === 0 ? [] : services) {
        if (attachments.networks.some(({ network }) => moved.has(network))) this.#dirty.add(service)
      }
    }
    this.#services = services
    this.#tables = tables
  }

  #endpointsOf(service: ServiceId, { services, tables }: EndpointInput): ServiceEndpoints | undefined {
    const attached = services.get(service)?.attachments
    if (attached === undefined || isNowhere(attached)) return undefined
    const candidates: Candidate[] = []
    for (const [node, tasks] of this.#holders.get(service) ?? nobody) {
      const known = this.#known.get(node)
      for (const task of known === undefined || known.life === 'down' ? noTasks : tasks) {
        const kind = known && standingOf(task, known.record, known.life).kind
        if (kind !== undefined && kind !== 'out') candidates.push({ node, task, kind })
      }
    }
    candidates.sort((a, b) => compareSlots(a.task, b.task) || (a.task.id < b.task.id ? -1 : 1))
    return new Map(
      attached.networks.map(({ network }) => {
        const table = tables.get(network)
        const endpoints = onNetwork(candidates, network, table)
        if (network !== attached.publishedOn) return [network, endpoints]
        return [network, { ...endpoints, answering: answeringOf(candidates, network, table) }]
      }),
    )
  }
}

function isSpoken(view: EndpointInput['view'], node: NodeId): boolean {
  return view.nodes.has(node) && view.records.has(node)
}

function onNetwork(
  candidates: readonly Candidate[],
  network: ResourceId,
  table: Pick<BlockTable, 'geometry' | 'owners'> | undefined,
): NetworkEndpoints {
  const up: Endpoint[] = []
  const first: Endpoint[] = []
  const second: Endpoint[] = []
  for (const { node, task, kind } of candidates) {
    const address = addressOn(task, network, node, table)
    if (address === undefined) continue
    const endpoint = { node, task: task.id, slot: task.slot, address }
    up.push(endpoint)
    if (kind === 'first') first.push(endpoint)
    if (kind === 'second') second.push(endpoint)
  }
  return { ready: first.length > 0 ? first : second, up }
}

/** Ranked before it is asked how they are reached: whoever surely answers comes before one in doubt. */
function answeringOf(
  candidates: readonly Candidate[],
  network: ResourceId,
  table: Pick<BlockTable, 'geometry' | 'owners'> | undefined,
): readonly Answering[] {
  const first = candidates.filter(({ kind }) => kind === 'first')
  const chosen = first.length > 0 ? first : candidates.filter(({ kind }) => kind === 'second')
  return chosen.map(({ node, task }) => ({
    node,
    task: task.id,
    address: addressOn(task, network, node, table),
    hostAddress: hostAddress(task),
  }))
}

function sameEndpoints(a: ServiceEndpoints, b: ServiceEndpoints): boolean {
  if (a.size !== b.size) return false
  for (const [network, { ready, up, answering }] of b) {
    const before = a.get(network)
    if (before === undefined || !sameList(before.ready, ready) || !sameList(before.up, up)) return false
    if (!sameAnswering(before.answering, answering)) return false
  }
  return true
}

function sameAnswering(a: readonly Answering[] | undefined, b: readonly Answering[] | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return sameList(a, b) && a.every(({ hostAddress }, at) => b[at]?.hostAddress === hostAddress)
}

function sameList(
  a: readonly Pick<Answering, 'node' | 'task' | 'address'>[],
  b: readonly Pick<Answering, 'node' | 'task' | 'address'>[],
): boolean {
  return (
    a.length === b.length &&
    a.every(({ node, task, address }, at) => {
      const other = b[at]
      return other !== undefined && other.task === task && other.node === node && other.address === address
    })
  )
}
