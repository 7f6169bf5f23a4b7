import { isDeepStrictEqual } from 'node:util'
import { type NodeId, slotId, specDigest, type ServiceSpec } from '@moot/crdt-state'
import type { Agent } from '../../packages/agent/src/agent.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { place } from '../../packages/agent/src/core/placement/place.ts'
import { commonRules, firstRules } from '../../packages/agent/src/core/rules.ts'
import type { Host } from './host.ts'
import type { People } from './people.ts'
import type { NodeRow, ServiceRow, TaskRow } from './rows.ts'
import type { World } from './world.ts'

/** On a network that loses nothing, an acknowledged write is seen at every host within this time, ms; asked this often. */
const visibleWithinMs = 2_000
const lookEveryMs = 20
/** What one host may send in a second of rest: probes both ways, their answers, a comparison. */
const talkForMs = 2_000
const messagesPerChangeMax = 30
const messagesPerSecondMax = 40
/** Timers of one agent at rest: one for each thing that it waits for, never one for each thing that happened. */
const timersMax = 60

/** Where nothing is broken, a task has long been claimed by then, ms. */
const claimedWithinMs = 15_000

interface MoveRow {
  readonly task: string
}

/**
 * What users were promised, checked from the outside: through any agent's API, and by what runs on the engines. Knows
 * nothing of what the workload meant, only what agents answered; of their insides, that the same view leads to the same
 * placement, and that what is over is forgotten.
 */
export class Promises {
  readonly violations: string[] = []
  /** After how long acknowledged writes were seen everywhere, where nothing stood in their way, ms. */
  readonly visibleMs: number[] = []
  readonly #world: World
  readonly #people: People
  /** Since when a task has been about to be claimed, and nothing else. */
  readonly #unclaimedSinceMs = new Map<string, number>()

  constructor(world: World, people: People) {
    this.#world = world
    this.#people = people
    people.onAcknowledged((subject, label) => this.#follow(subject, label))
  }

  /** At rest nothing breaks again, nothing is stopped, hardly anything is said, and nothing piles up. */
  async restless(restMs: number): Promise<readonly string[]> {
    const { network, hosts, clock } = this.#world
    const before = network.carried()
    let isRest = true
    let changed = 0
    // That one which runs is found healthy is no unrest.
    this.#world.onContainer((_host, _setup, { state }) => {
      if (isRest && state !== 'running') changed += 1
    })
    await this.#world.pass(restMs)
    isRest = false
    const perSecond = ((network.carried() - before) / hosts.length / restMs) * 1_000
    return [
      ...(await this.broken()),
      ...(perSecond > messagesPerSecondMax
        ? [`each host sends ${perSecond.toFixed()} messages a second`]
        : []),
      ...(clock.pending() > timersMax * hosts.length ? [`${clock.pending()} timers are set`] : []),
      ...(changed > 0 ? [`${changed} containers come or go at rest`] : []),
      ...this.#heaps(),
      ...(await this.#talkative(perSecond)),
    ]
  }

  /** What is over is forgotten: of each slot a node tells of so many tasks at most, of removed services of none. */
  #heaps(): readonly string[] {
    const wrong: string[] = []
    for (const { name, agent } of this.#world.members()) {
      const { records, services } = agent!.view()
      for (const { tasks } of records.values()) {
        const slots = Map.groupBy(tasks.values(), ({ service, slot }) => slotId(service, slot))
        for (const [slot, told] of slots) {
          if (told.length > defaults.taskHistoryLimit + 2)
            wrong.push(`${name} knows ${told.length} tasks of slot ${slot}`)
          if (!services.has(told[0]!.service)) wrong.push(`${name} knows a task of a removed service`)
        }
      }
    }
    return wrong
  }

  /** One small change is told to everybody, and not much more. */
  async #talkative(restPerSecond: number): Promise<readonly string[]> {
    const { network, clock } = this.#world
    const members = this.#world.members()
    const beganMs = clock.monotonicMs()
    const via = this.#world.hosts.indexOf(members[0]!)
    const before = network.carried()
    // The same again: what it says now.
    const state = members[0]!.agent?.view().nodes.get(members[0]!.node)?.spec.Availability ?? 'active'
    await this.#world.during(this.#people.say({ kind: 'availability', atMs: 0, via, host: via, state }))
    await this.#world.pass(talkForMs)
    const forMs = clock.monotonicMs() - beganMs
    const sent = network.carried() - before - (restPerSecond * members.length * forMs) / 1_000
    const perHost = Math.round(sent / members.length)
    return perHost > messagesPerChangeMax ? [`each host sends ${perHost} messages for one change`] : []
  }

  /** What does not hold now of what must hold when nothing is broken any more. */
  async broken(): Promise<readonly string[]> {
    const silent = this.#world.hosts.filter((host) => host.agent === undefined)
    if (silent.length > 0) return silent.map(({ name }) => `${name} has no agent`)
    const hosts = this.#world.members()
    const missing = [...this.#people.members].filter((host) => !host.isMember)
    if (missing.length > 0) return missing.map(({ name }) => `${name} has lost its membership`)
    const services = await this.#listed<ServiceRow>('/services')
    const nodes = await this.#listed<NodeRow>('/nodes')
    const [first] = hosts
    if (first === undefined) return []
    const wanted = services.get(first) ?? []
    const members = nodes.get(first) ?? []
    return [
      ...disagreements('services', services),
      ...disagreements('nodes', nodes),
      ...hosts
        .filter(({ node }) => !members.some(({ ID }) => ID === node))
        .map(({ name }) => `${name} takes itself for a member, and is not in the list of nodes`),
      ...members
        .filter(({ Status }) => Status.State !== 'ready')
        .filter(({ ID }) => hosts.some(({ node }) => node === ID))
        .map(({ ID, Status }) => `node ${ID} is ${Status.State}`),
      ...this.#placements(),
      ...this.#lost(wanted, members),
      ...this.#running(wanted, members),
      ...this.#outcomes(),
      ...(await this.#uneven(first, wanted)),
      ...(await this.#unready(first)),
    ]
  }

  async #listed<Row extends { readonly ID: string }>(
    path: string,
  ): Promise<ReadonlyMap<Host, readonly Row[]>> {
    const lists = new Map<Host, readonly Row[]>()
    for (const host of this.#world.members()) {
      const answer = await this.#world.during(host.ask('GET', path))
      const rows = answer?.status === 200 ? (answer.body as readonly Row[]) : []
      lists.set(
        host,
        rows.toSorted((a, b) => (a.ID < b.ID ? -1 : 1)),
      )
    }
    return lists
  }

  /** Every agent has computed the same. */
  #placements(): readonly string[] {
    const told = new Map<string, Map<string, string[]>>()
    for (const { name, agent } of this.#world.members()) {
      for (const [slot, where] of agent?.placement().slots ?? []) {
        const place = where.kind === 'held' ? this.#world.nameOf(where.holder.node) : where.kind
        const places = told.get(slot) ?? new Map<string, string[]>()
        places.set(place, [...(places.get(place) ?? []), name])
        told.set(slot, places)
      }
    }
    const members = this.#world.members().length
    return [...told].flatMap(([slot, places]) => {
      const isSame = places.size === 1 && [...places.values()].flat().length === members
      const words = [...places].map(([place, names]) => `${place} by ${names.join(' and ')}`)
      return isSame ? [] : [`slot ${slot} is placed differently: ${words.join(', ')}`]
    })
  }

  /** What an agent has worked out step by step, as it learnt, is what follows from what it knows now. */
  unlikeItsView({ name, agent, isMember }: Host): readonly string[] {
    if (agent === undefined || !isMember) return []
    const view = agent.view()
    const nodes = new Map(
      [...view.nodes].map(([id, settings]) => {
        const liveness = agent.liveness().get(id) ?? { kind: 'unknown' }
        return [id, { id, settings, record: view.records.get(id), liveness }]
      }),
    )
    const anew = place({ services: view.services, nodes, rules: commonRules(view) ?? firstRules })
    const wrong: string[] = []
    const slots = agent.placement().slots
    if (slots.size !== anew.slots.size) wrong.push(`${name} places ${slots.size} slots of ${anew.slots.size}`)
    for (const [slot, where] of anew.slots) {
      if (!isDeepStrictEqual(slots.get(slot), where)) {
        wrong.push(`${name} places slot ${slot} otherwise than its view says`)
      }
    }
    return wrong
  }

  /** An acknowledged write is nowhere to be seen. */
  #lost(services: readonly ServiceRow[], nodes: readonly NodeRow[]): readonly string[] {
    const wrong: string[] = []
    for (const [subject, labels] of this.#people.acknowledged) {
      const found =
        services.find(({ Spec }) => Spec.Name === subject)?.Spec.Labels ??
        nodes.find(({ ID }) => ID === subject)?.Spec.Labels
      for (const label of labels) {
        if (found?.[label] === undefined && !this.#people.isUndone(subject, label))
          wrong.push(`${label} on ${subject} was acknowledged and is lost`)
      }
    }
    return wrong
  }

  /** Of a release that went back nothing is left that had something to go back to, and that nobody has touched since. */
  #outcomes(): readonly string[] {
    return this.#world.members().flatMap(({ name, agent }) => {
      const services = [...(agent?.view().services.values() ?? [])]
      const undone = new Set(services.flatMap(({ failure }) => failure?.releases ?? []))
      return services
        .filter(
          ({ spec, previous, rolledBack }) =>
            previous !== undefined && !rolledBack && undone.has(spec.Labels['moot.release'] ?? ''),
        )
        .map((service) => `${name}: ${service.name} stays in a release that went back`)
    })
  }

  /** Exactly the wanted set: none missing, none twice, none of nobody's, all of the newest spec. */
  #running(services: readonly ServiceRow[], nodes: readonly NodeRow[]): readonly string[] {
    const wrong: string[] = []
    const drained = new Set(
      nodes.filter((node) => node.Spec.Availability === 'drain').map(({ ID }) => String(ID)),
    )
    const running = this.#world.hosts.flatMap((host) =>
      host.engine
        .containers()
        .filter(({ observation }) => observation.state === 'running')
        .map((container) => ({ host, ...container })),
    )
    for (const { ID, Spec } of services) {
      const ours = running.filter(({ setup }) => setup.task.service === ID)
      const all = wantedSlots(this.#world, Spec)
      // A global service is not wanted where nothing is to run.
      const slots = Spec.Mode.Global === undefined ? all : all.difference(drained)
      for (const slot of slots) {
        const here = ours.filter(({ setup }) => String(setup.task.slot) === slot)
        const places = here.map(({ host }) => host.name).join(' and ')
        if (here.length !== 1) wrong.push(`${Spec.Name}.${slot} runs ${here.length} times ${places}`)
      }
      for (const { host, setup, observation } of ours) {
        const name = `${Spec.Name}.${setup.task.slot} on ${host.name}`
        if (!slots.has(String(setup.task.slot))) wrong.push(`${name} is not wanted`)
        if (specDigest(setup.spec) !== specDigest(Spec)) wrong.push(`${name} runs an older spec`)
        if (!mayRunOn(host, Spec)) wrong.push(`${name} runs where it may not`)
        if (observation.health === 'unhealthy') wrong.push(`${name} is unhealthy`)
      }
    }
    for (const { host, setup } of running) {
      if (drained.has(host.node))
        wrong.push(`${host.name} is drained and runs ${setup.service.name}.${setup.task.slot}`)
      if (!services.some(({ ID }) => ID === setup.task.service)) {
        wrong.push(`${host.name} runs a task of a removed service`)
      }
    }
    return wrong
  }

  /** What is evened out by itself is even, where nobody is on probation: or no node took what was to move. */
  async #uneven(host: Host, services: readonly ServiceRow[]): Promise<readonly string[]> {
    const isOpen = [...(host.agent?.liveness().values() ?? [])].every(
      (life) => life.kind === 'alive' && life.isOnProbation !== true,
    )
    const evened = services.filter(({ Spec }) => Spec.Labels['moot.rebalance'] === 'auto')
    if (!isOpen || evened.length === 0) return []
    const ask = async (method: 'GET' | 'POST', body?: object): Promise<unknown> =>
      (await this.#world.during(host.ask(method, '/moot/v1/rebalance', body)))?.body
    const stays = (await ask('GET')) as readonly MoveRow[] | undefined
    const wrong: string[] = []
    for (const { Spec } of evened) {
      const plan = await ask('POST', { subject: Spec.Name, dryRun: true })
      const { moves = [] } = (plan ?? {}) as { readonly moves?: readonly MoveRow[] }
      for (const { task } of moves)
        if (stays?.every((other) => other.task !== task))
          wrong.push(`${task} would make it more even elsewhere`)
    }
    return wrong
  }

  /** What runs is ready, where nothing is broken, and says nothing of any trouble. */
  async #unready(host: Host): Promise<readonly string[]> {
    const answer = await this.#world.during(host.ask('GET', '/tasks'))
    const rows = answer?.status === 200 ? (answer.body as readonly TaskRow[]) : []
    return rows
      .filter(({ Status }) => Status.State === 'running' && Status.Err !== undefined)
      .map(({ ServiceID, Slot, Status }) => `${ServiceID}.${Slot} runs and says: ${Status.Err}`)
  }

  /** Follows an acknowledged write until every host shows it. */
  #follow(subject: string, label: string): void {
    const { clock } = this.#world
    const sinceMs = this.#world.nowMs
    const look = (): void => {
      // Removed, rolled back or cut off meanwhile: whether it should be seen is not known from outside.
      if (!this.#world.isOpen || this.#people.acknowledged.get(subject)?.has(label) !== true) return
      if (this.#people.isUndone(subject, label)) return
      const afterMs = this.#world.nowMs - sinceMs
      // Whoever knows of its own removal and still stops its tasks is told nothing any more.
      const told = this.#world.members().filter(({ agent, node }) => agent?.view().nodes.has(node))
      if (told.every(({ agent }) => agent !== undefined && shows(agent, subject, label))) {
        this.visibleMs.push(afterMs)
      } else if (afterMs < visibleWithinMs) clock.after(lookEveryMs, look)
      else this.violations.push(`${label} on ${subject} is not seen everywhere after ${afterMs} ms`)
    }
    look()
  }

  /** What is about to be claimed is claimed: asked often, in calm, it is no reason to wait for ever. */
  async watchClaims(): Promise<void> {
    const { nowMs } = this.#world
    const [host] = this.#world.members()
    const answer = await this.#world.during(host?.ask('GET', '/tasks') ?? Promise.resolve(undefined))
    if (answer?.status !== 200) return
    const waiting = new Set(
      (answer.body as readonly TaskRow[])
        .filter(({ Status }) => Status.State === 'pending' && isAboutToBeClaimed(Status))
        .map(({ ID, ServiceID, Slot }) => `${ServiceID}.${Slot ?? ID}`),
    )
    for (const known of this.#unclaimedSinceMs.keys())
      if (!waiting.has(known)) this.#unclaimedSinceMs.delete(known)
    for (const which of waiting) {
      const sinceMs = this.#unclaimedSinceMs.get(which) ?? nowMs
      this.#unclaimedSinceMs.set(which, sinceMs)
      if (nowMs - sinceMs < claimedWithinMs) continue
      const line = `${which} is about to be claimed for more than ${claimedWithinMs / 1_000} s`
      if (!this.violations.includes(line)) this.violations.push(line)
    }
  }

  /** Every task that waits says why. */
  async unexplained(host: Host): Promise<readonly string[]> {
    const answer = await host.ask('GET', '/tasks')
    if (answer?.status !== 200) return []
    const wrong: string[] = []
    for (const { ServiceID, Slot, Status } of answer.body as readonly TaskRow[]) {
      const isExplained = (Status.Err ?? '') !== '' || isAboutToBeClaimed(Status)
      if (Status.State !== 'pending' || isExplained) continue
      wrong.push(`${host.name}: ${ServiceID}.${Slot} is pending without a reason`)
    }
    return wrong
  }
}

function isAboutToBeClaimed({ Message }: TaskRow['Status']): boolean {
  return Message?.startsWith('about to be claimed') === true
}

function shows(agent: Agent, subject: string, label: string): boolean {
  if (agent.state().kind !== 'active') return false
  const { services, nodes } = agent.view()
  const service = [...services.values()].find(({ name }) => name === subject)
  const labels = service?.spec.Labels ?? nodes.get(subject as NodeId)?.spec.Labels
  return labels?.[label] !== undefined
}

/** By the one kind of constraint that people here write. */
export function mayRunOn({ node }: Host, { TaskTemplate }: ServiceSpec): boolean {
  return TaskTemplate.Placement?.Constraints?.includes(`node.id!=${node}`) !== true
}

/** By the API's own words: slots for replicas, nodes that take tasks for a global service. */
export function wantedSlots(world: World, spec: ServiceSpec): ReadonlySet<string> {
  if (spec.Mode.Global !== undefined) return new Set(world.members().map((host) => host.node))
  const replicas = spec.Mode.Replicated?.Replicas ?? 1
  return new Set(Array.from({ length: replicas }, (_, index) => String(index + 1)))
}

function disagreements<Row extends { readonly ID: string; readonly Spec: unknown }>(
  what: string,
  lists: ReadonlyMap<Host, readonly Row[]>,
): readonly string[] {
  const told = new Map<string, string[]>()
  for (const [host, rows] of lists) {
    const text = JSON.stringify(rows.map(({ ID, Spec }) => [ID, Spec]))
    told.set(text, [...(told.get(text) ?? []), host.name])
  }
  if (told.size <= 1) return []
  return [`hosts disagree on ${what}: ${[...told.values()].map((names) => names.join(', ')).join(' | ')}`]
}
