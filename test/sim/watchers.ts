import {
  isClaim,
  type NodeId,
  parseSlotId,
  type Resource,
  type ServiceId,
  type SlotId,
  slotId,
  specDigest,
  type ServiceSpec,
  type SpecDigest,
  type TaskId,
} from '@moot/crdt-state'
import type { Agent } from '../../packages/agent/src/agent.ts'
import type { ContainerObservation, TaskSetup } from '../../packages/agent/src/core/reconcile/actions.ts'
import { watchAddresses } from './addresses.ts'
import { Drains } from './drains.ts'
import { watchEvictions } from './evictions.ts'
import { watchExclusivity } from './exclusivity.ts'
import type { Host } from './host.ts'
import { IllHealth } from './ill-health.ts'
import { lostAddresses } from '../../packages/agent/src/core/network/endpoints.ts'
import { isBalanced } from '../../packages/agent/src/core/reconcile/spec.ts'
import { mayRunOn, wantedSlots } from './promises.ts'
import { isWell, Unproven } from './unproven.ts'
import type { World } from './world.ts'

interface Island {
  readonly sinceMs: number
  /** Whom the host's agent had given up as it began, also where another agent runs there by now. */
  readonly down: ReadonlySet<NodeId>
  /** What it held, and whom it had given up, when it had carried out all that it had decided by then. */
  readonly before: { readonly slots: ReadonlySet<SlotId>; readonly down: ReadonlySet<NodeId> } | undefined
}

/** The newest container of a slot on a host. */
interface Made {
  readonly digest: SpecDigest
  /** The one made before it there has another spec: what ran before that has the same again. */
  readonly goesBack: boolean
  readonly atMs: number
}

export interface WatchOptions {
  /** No host is ever cut off or dead: one connected side, whose updates keep to their policy. */
  readonly wholeNetwork: boolean
}

/** A task that has been well for so long is somebody's service, ms. */
const servesAfterMs = 1_000

/** How often hosts that are cut off are looked for; what was decided before is carried out by then, ms. */
const islandLookMs = 200
const carriedOutWithinMs = 2_000

/** From when the next task is made, or an agent goes on, to when what is to stop is told to, ms. */
const stopsWithinMs = 500

/** Until all are told that a task is sent nothing any more, or the time for that is up, ms. */
const drainedWithinMs = 10_000

/** What has ended on another host is known by then: it is given up, or says so itself, ms. */
const knownWithinMs = 2_500

/** What is sent traffic is told to stop so much later than that was decided. */
function toldWithinMs(spec: ServiceSpec): number {
  return isBalanced(spec) ? drainedWithinMs : 0
}

/** What must hold at every moment, whatever is broken: watched at the engines, as things happen. */
export class Watchers {
  readonly violations: string[] = []
  readonly #world: World
  /** Slots that an update took down and has not brought back, by the host that did it. */
  readonly #downByUpdate = new Map<SlotId, Host>()
  /** The newest container's task and spec. */
  readonly #lastMade = new Map<SlotId, { readonly task: TaskId; readonly digest: SpecDigest }>()
  readonly #lastMadeBy = new Map<Host, Map<SlotId, Made>>()
  /** Tasks that were asked to stop for a cause: that goes on, also where the cause is gone again. */
  readonly #stopping = new Set<TaskId>()
  /** Since when a task has been well, ms. */
  readonly #wellSinceMs = new Map<TaskId, number>()
  /** Until when the task of a slot was well that ceased to be so last, ms. */
  readonly #lastWell = new Map<SlotId, { readonly task: TaskId; readonly untilMs: number }>()
  /** When the last container of a slot on a host ended, ms. */
  readonly #endedAtMs = new Map<string, number>()
  /** Specs that were well in a slot, or failed there: the update has gone on, and what is tried again is no step of it. */
  readonly #tried = new Map<SlotId, Set<SpecDigest>>()
  /** Hosts that are cut off, since when, and what they held once all decided before that was carried out. */
  readonly #islands = new Map<Host, Island>()
  /** Services that were to keep away from a host. */
  readonly #hasMoved = new Set<string>()
  /** Slots that an update has put on a spec which was not well there yet. */
  readonly #trying = new Map<SlotId, { readonly digest: SpecDigest; readonly at: Host }>()
  readonly #options: WatchOptions
  readonly #health: IllHealth
  readonly #unproven: Unproven
  readonly #drains: Drains

  constructor(world: World, options: WatchOptions) {
    this.#world = world
    this.#options = options
    this.#lookForIslands()
    world.onCreate((host, setup) => {
      this.#checkIsland(host, setup)
      if (setup.service.spec.TaskTemplate.Placement?.Constraints?.length) this.#hasMoved.add(setup.service.id)
    })
    this.#health = new IllHealth(world, options.wholeNetwork, (line) => this.#tell(line))
    this.#drains = new Drains(world, (line) => this.#tell(line))
    this.#unproven = new Unproven(world, options.wholeNetwork, (line) => this.#tell(line))
    watchExclusivity(world, (line) => this.#tell(line))
    watchEvictions(world, (line) => this.#tell(line))
    if (options.wholeNetwork) watchAddresses(world, (line) => this.#tell(line))
    world.onStop((host, task) => {
      this.#checkStop(host, task)
      this.#checkDrained(host, task)
      this.#checkUpdate(host, task)
    })
    world.onContainer((host, setup, observation) => {
      this.#unproven.observed(host, setup, observation)
      const isRetry = this.#isRetry(host, setup, observation)
      this.#checkTurn(host, setup, observation, isRetry)
      this.#follow(host, setup, observation, isRetry)
      if (observation.state === 'exited') this.#endedAtMs.set(placeOf(host, setup), world.nowMs)
      if (!isWell(observation)) this.#isWellNoMore(host, setup)
      else if (!waitsForReadiness(setup.spec)) this.#isWell(setup)
    })
    world.listeners.onProbe((host, setup, part, isPassed) => {
      const found = host.engine.containers().find(({ setup: { task } }) => task.id === setup.task.id)
      // While its engine is down nothing is said to run that was not before, and so is sent no traffic.
      const isPassedOn = part === 'ready' && isPassed && !host.engine.isDown
      if (isPassedOn && found !== undefined && isWell(found.observation)) this.#isWell(setup)
    })
  }

  #isWell(setup: TaskSetup): void {
    const { id } = setup.task
    if (!this.#wellSinceMs.has(id)) this.#wellSinceMs.set(id, this.#world.nowMs)
    this.#health.isWellAgain(setup)
  }

  #isWellNoMore(host: Host, setup: TaskSetup): void {
    const { task } = setup
    if (!this.#wellSinceMs.delete(task.id)) return
    this.#drains.isWellNoMore(host, setup)
    this.#lastWell.set(slotId(task.service, task.slot), { task: task.id, untilMs: this.#world.nowMs })
  }

  #tell(line: string): void {
    this.#world.tell(`!! ${line}`)
    this.violations.push(line)
  }

  /** An agent stops a container that runs: for a cause that a person would accept, by what the agent itself knows. */
  #checkStop(host: Host, task: TaskId): void {
    const found = host.engine.containers().find(({ observation }) => observation.task === task)
    if (found === undefined || host.agent === undefined) return
    // What was decided before it was up is carried out after: it has served nobody.
    const wellSinceMs = this.#wellSinceMs.get(task)
    if (wellSinceMs === undefined || this.#world.nowMs - wellSinceMs < servesAfterMs) return
    // What was about to take its place anyway serves: its slot is not down.
    if (!this.#isServedBesides(found.setup)) this.#health.stopped(host, found)
    const isIll = this.#health.isIll(task, found.observation) || this.#health.wasIll(host, task)
    this.#drains.stopped(host, found.setup, isIll || this.#hasJustMadeNext(host, found.setup))
    const view = host.agent.view()
    const service = view.services.get(found.setup.task.service)
    const slot = String(found.setup.task.slot)
    const excused =
      service === undefined ||
      // What it had of this task, its disk has lost.
      (this.#world.rotten.has(host) && view.records.get(host.node)?.tasks.has(task) !== true) ||
      // What was decided before, a disk that was slow or full has only now let happen.
      this.#world.isImpaired ||
      // Or the agent itself, which stood still in between.
      this.#world.nowMs - host.resumedAtMs < stopsWithinMs ||
      host.wasEnding.has(task) ||
      isIll ||
      specDigest(found.setup.spec) !== specDigest(service.spec) ||
      !wantedSlots(this.#world, service.spec).has(slot) ||
      this.#wasScaledAway(host, found.setup, service) ||
      this.#wasDrained(host, task) ||
      // Two sides of a partition may have had one address, or a subnet each.
      (!this.#world.isPeaceful && hasLostAddress(host, task)) ||
      // What a drain promises besides is looked at by itself. A node that is paused keeps what it has.
      isLeft(view.nodes.get(host.node)?.spec.Availability) ||
      // A step whose next task runs ends with this, though the spec it was for has been overtaken just now.
      this.#others(found.setup.task, [host]).some(isRunning) ||
      // One whose next task has just been made ends likewise: the stop is on its way.
      this.#hasJustMadeNext(host, found.setup) ||
      this.#mayLackLease(service.name) ||
      // What is exclusive ends before the next one begins, also where it moves.
      (this.#world.contracts.isOrWasExclusive(service.name) && !mayRunOn(host, service.spec)) ||
      // It moves: the other one is there first.
      (this.#hasMoved.has(service.id) && this.#others(found.setup.task).some(isRunning)) ||
      (isAskedToMove(service.facts, found.setup, host) &&
        (this.#others(found.setup.task).some(isRunning) ||
          (this.#world.contracts.isOrWasExclusive(service.name) && isMadeElsewhere(host, found.setup)))) ||
      // Two that run at once come of hosts that took each other for dead, and of nothing else.
      (!this.#world.isPeaceful &&
        (this.#others(found.setup.task).some(isRunning) ||
          this.#hasJustEndedElsewhere(host, found.setup) ||
          saidToRun(host, task, found.setup)))
    if (excused || this.#stopping.has(task)) {
      this.#stopping.add(task)
      return
    }
    this.#tell(`${host.name} stopped ${service.name}.${slot} without a cause`)
    for (const line of whatItKnew(
      this.#world,
      host,
      slotId(service.id as ServiceId, found.setup.task.slot),
    )) {
      this.#world.tell(`!!   ${line}`)
    }
  }

  /** What was wanted before was less, so that it was decided to go for good; draining takes its time. Clocks jump, so any time before will do. */
  #wasScaledAway({ agent, node }: Host, { task }: TaskSetup, { id, name }: Resource<ServiceSpec>): boolean {
    const askedMs = this.#world.askedAboutMs.get(name) ?? -Infinity
    const isGoing = agent?.view().records.get(node)?.tasks.get(task.id)?.desired === 'remove'
    const wasUnwanted = agent
      ?.history('service', id)
      .some(({ spec }) => !wantedSlots(this.#world, spec).has(String(task.slot)))
    return isGoing && wasUnwanted === true && this.#world.nowMs - askedMs < drainedWithinMs + stopsWithinMs
  }

  /** Its host was to be drained, and is not any more: what it had begun to end goes for good all the same. */
  #wasDrained({ agent, node }: Host, task: TaskId): boolean {
    const askedMs = this.#world.askedAboutMs.get(node) ?? -Infinity
    const { nodes, records } = agent?.view() ?? {}
    const desired = records?.get(node)?.tasks.get(task)?.desired
    const id = nodes?.get(node)?.id
    const wasAway =
      id !== undefined &&
      agent?.history('node', id).some(({ spec }) => spec.Availability !== 'active') === true
    const isGoing = desired === 'shutdown' || desired === 'remove'
    return isGoing && wasAway && this.#world.nowMs - askedMs < drainedWithinMs + stopsWithinMs
  }

  /** Whose lease cannot be renewed it ends, and so does what was made before there were leases of it. */
  #mayLackLease(service: string): boolean {
    const { contracts, isPeaceful, isHeard } = this.#world
    if (!contracts.isOrWasExclusive(service)) return false
    return !isPeaceful || !isHeard || contracts.mayHaveTightened(service)
  }

  #hasJustMadeNext(host: Host, { task, spec }: TaskSetup): boolean {
    const last = this.#lastMadeBy.get(host)?.get(slotId(task.service, task.slot))
    if (last === undefined || (last.digest === specDigest(spec) && !last.goesBack)) return false
    return this.#world.nowMs - last.atMs < stopsWithinMs + toldWithinMs(spec)
  }

  /** The other one ran until a moment ago, or when it was decided, before all were told: nobody could know that it does not. */
  #hasJustEndedElsewhere(self: Host, setup: TaskSetup): boolean {
    const { hosts, nowMs } = this.#world
    const sinceMs = nowMs - knownWithinMs - toldWithinMs(setup.spec)
    return hosts.some(
      (host) => host !== self && (this.#endedAtMs.get(placeOf(host, setup)) ?? -Infinity) > sinceMs,
    )
  }

  /** What is sent traffic is told to stop once everybody knows that it does. */
  #checkDrained(host: Host, id: TaskId): void {
    const found = host.engine.containers().find(({ observation }) => observation.task === id)
    const own = host.agent?.view().records.get(host.node)?.tasks.get(id)
    if (!this.#options.wholeNetwork || found === undefined || own === undefined) return
    if (!isBalanced(found.setup.spec) || own.state !== 'running' || own.unready !== undefined) return
    if (own.illness !== undefined) return
    for (const other of this.#world.members()) {
      const seen = other.agent?.view().records.get(host.node)?.tasks.get(id)
      // Who leaves is sent nothing any more, and is no one to be told.
      const isKnown = host.agent?.view().nodes.has(other.node) === true
      if (seen === undefined || !isClaim(seen) || !isKnown) continue
      this.#tell(
        `${host.name} stops ${found.setup.service.name}.${own.slot} while ${other.name} sends it traffic`,
      )
      return
    }
  }

  /** An update takes a replica down that was not ill: never more of them at a time than its policy says. */
  #checkUpdate(host: Host, task: TaskId): void {
    const found = host.engine.containers().find(({ observation }) => observation.task === task)
    const service = found && host.agent?.view().services.get(found.setup.task.service)
    // What was not up is not taken down.
    if (found === undefined || service === undefined || !this.#wellSinceMs.has(task)) return
    const { setup } = found
    const slot = slotId(setup.task.service, setup.task.slot)
    const parallelism = parallelismOf(service.spec)
    this.#forgetUnwanted(host, service)
    const isUpdate =
      specDigest(setup.spec) !== specDigest(service.spec) &&
      wantedSlots(this.#world, service.spec).has(String(setup.task.slot)) &&
      host.agent?.view().nodes.get(host.node)?.spec.Availability === 'active'
    if (!this.#options.wholeNetwork || !isUpdate) return
    if (this.#others(setup.task).some(isWell) || IllHealth.isReason(host, task)) return
    if (this.#wasScaledAway(host, setup, service)) return
    this.#unproven.stoppedForUpdate(host, setup, service)
    if (this.#startsFirst(host, service) && !this.#wasServedBesides(setup))
      this.#tell(
        `the update of ${service.name} takes slot ${setup.task.slot} down, whose next task is to start first`,
      )
    if (parallelism === 0) return
    this.#downByUpdate.set(slot, host)
    const down = [...this.#downByUpdate].filter(
      ([each, at]) =>
        !hasLeft(host, at) &&
        !isEngineGivenUp(host, at) &&
        isWanted(this.#world, each, service) &&
        !isDrainedGlobal(host, each, service),
    )
    if (down.length > parallelism) {
      this.#tell(
        `the update of ${service.name} has ${down.length} slots down at once, of ${parallelism} allowed`,
      )
    }
  }

  /** The next task is well before this one goes, and has been for as long as people have asked for anything. */
  #startsFirst({ agent }: Host, { id, name, spec, rolledBack }: Resource<ServiceSpec>): boolean {
    if (this.#world.contracts.isOrWasExclusive(name)) return false
    const order = rolledBack ? spec.RollbackConfig?.Order : spec.UpdateConfig?.Order
    const past = agent?.history('service', id) ?? []
    // What began in the other order ends so.
    return order === 'start-first' && past.every((each) => each.spec.UpdateConfig?.Order === 'start-first')
  }

  /** Another task of the slot was well a moment ago, when it was decided that this one goes. */
  #wasServedBesides({ task, spec }: TaskSetup): boolean {
    const last = this.#lastWell.get(slotId(task.service, task.slot))
    if (last === undefined || last.task === task.id) return false
    return this.#world.nowMs - last.untilMs < stopsWithinMs + toldWithinMs(spec)
  }

  /** What was scaled away is no longer down for an update, nor tried by it, also when it is wanted again. */
  #forgetUnwanted(host: Host, service: { readonly id: string; readonly spec: ServiceSpec }): void {
    for (const known of [this.#downByUpdate, this.#trying]) {
      for (const slot of known.keys()) {
        if (parseSlotId(slot).service !== service.id) continue
        if (!isWanted(this.#world, slot, service) || isDrainedGlobal(host, slot, service)) known.delete(slot)
      }
    }
  }

  /** An update goes on where the spec has proved itself: so many slots at a time have a spec that has not. */
  #checkTurn(
    host: Host,
    { task, spec, service }: TaskSetup,
    observation: ContainerObservation,
    isRetry: boolean,
  ): void {
    const slot = slotId(task.service, task.slot)
    const digest = specDigest(spec)
    const tried = this.#tried.get(slot) ?? new Set()
    const { state, health } = observation
    const isOver = isRetry || isWell(observation) || health === 'unhealthy' || state === 'exited'
    if (isOver) this.#tried.set(slot, tried.add(digest))
    // A slot that nobody fills is filled at once, whatever is being updated, and so is one that moves.
    const downAt = this.#downByUpdate.get(slot)
    const isDown = downAt !== undefined && !hasLeft(host, downAt)
    const isStep = isDown || this.#others(task, [host]).some(isWell)
    if (isOver || tried.has(digest) || !isStep) {
      if (this.#trying.get(slot)?.digest === digest) this.#trying.delete(slot)
      return
    }
    this.#trying.set(slot, { digest, at: host })
    const parallelism = parallelismOf(spec)
    if (!this.#options.wholeNetwork || parallelism === 0) return
    const now = (host.isMember ? host.agent?.view().services.get(task.service)?.spec : undefined) ?? spec
    const others = [...this.#trying].filter(
      ([other, its]) =>
        its.digest === digest &&
        !hasLeft(host, its.at) &&
        !isEngineGivenUp(host, its.at) &&
        isWanted(this.#world, other, { id: task.service, spec: now }) &&
        !isDrainedGlobal(host, other, { spec: now }) &&
        isClaimed(this.#world, other, digest),
    )
    if (others.length <= parallelism) return
    this.#tell(
      `the update of ${service.name} tries a spec in ${others.length} slots at once, of ${parallelism} allowed`,
    )
  }

  /** Who is cut off, and what such hosts held when that began. */
  #lookForIslands(): void {
    const world = this.#world
    for (const host of world.hosts) {
      if (!isIsland(world, host)) {
        this.#islands.delete(host)
        continue
      }
      // An agent that stood still meanwhile carries out what it had decided before it was cut off.
      const known = this.#islands.get(host)
      const isKnown = known !== undefined && known.sinceMs >= host.resumedAtMs
      const down = known?.down ?? downOf(host.lastAgent)
      const island = isKnown ? known : { sinceMs: world.nowMs, down, before: undefined }
      const isOver = !world.isImpaired && world.nowMs - island.sinceMs >= carriedOutWithinMs
      this.#islands.set(host, { ...island, before: island.before ?? (isOver ? stateOf(host) : undefined) })
    }
    world.clock.after(islandLookMs, () => this.#lookForIslands())
  }

  /** A host that sees nobody, and not even the gateway, takes nothing over that others held. */
  #checkIsland(host: Host, { task, service }: TaskSetup): void {
    const { agent } = host
    const island = this.#islands.get(host)
    const before = island?.before
    if (agent === undefined || island === undefined || before === undefined) return
    if (before.slots.has(slotId(task.service, task.slot))) return
    if (this.#world.nowMs - host.resumedAtMs < carriedOutWithinMs) return
    if (!isIsland(this.#world, host)) return
    const view = agent.view()
    const now = view.records.get(host.node)?.tasks.get(task.id)
    // Given back already, while an engine that hung has yet to do what was asked of it.
    if (now === undefined || !isClaim(now)) return
    const held = [...view.records].find(
      ([node, { tasks }]) =>
        node !== host.node &&
        !before.down.has(node) &&
        !island.down.has(node) &&
        view.nodes.get(node)?.spec.Availability === 'active' &&
        [...tasks.values()].some(
          (each) => isClaim(each) && each.service === task.service && each.slot === task.slot,
        ),
    )
    if (held === undefined) return
    this.#tell(
      `${host.name} is cut off and takes over ${service.name}.${task.slot} of ${this.#world.nameOf(held[0])}`,
    )
  }

  /** Another task of the slot is well, by what its server answers too. */
  #isServedBesides({ task }: TaskSetup): boolean {
    return this.#others(task).some(
      (other) => this.#wellSinceMs.has(other.task) && !this.#health.isIll(other.task, other),
    )
  }

  /** All containers of the same slot but this task's own. */
  #others(
    { id, service, slot }: TaskSetup['task'],
    at: readonly Host[] = this.#world.hosts,
  ): readonly ContainerObservation[] {
    return at
      .flatMap(({ engine }) => engine.containers())
      .filter(({ setup: { task } }) => task.id !== id && task.service === service && task.slot === slot)
      .map(({ observation }) => observation)
  }

  /** Made anew: the one before could not be started. */
  #isRetry(host: Host, { task, spec }: TaskSetup, { state }: ContainerObservation): boolean {
    if (state !== 'created') return false
    const slot = slotId(task.service, task.slot)
    const digest = specDigest(spec)
    const byHost = this.#lastMadeBy.get(host) ?? new Map<SlotId, Made>()
    const beforeHere = byHost.get(slot)
    const goesBack = beforeHere !== undefined && beforeHere.digest !== digest
    this.#lastMadeBy.set(host, byHost.set(slot, { digest, goesBack, atMs: this.#world.nowMs }))
    const before = this.#lastMade.get(slot)
    this.#lastMade.set(slot, { task: task.id, digest })
    return before?.digest === digest && before.task !== task.id
  }

  /** A slot is no longer down because of its update once the next task is up, or has failed by itself. */
  #follow(host: Host, { task }: TaskSetup, observation: ContainerObservation, isRetry: boolean): void {
    const { state, health, exitCode } = observation
    const slot = slotId(task.service, task.slot)
    const wasIll = this.#health.isIll(task.id, observation) || IllHealth.isReason(host, task.id)
    const hasFailed = isRetry || health === 'unhealthy' || (state === 'exited' && (wasIll || exitCode !== 0))
    if (isWell(observation) || hasFailed) this.#downByUpdate.delete(slot)
  }
}

/** It sees nobody, and not even the gateway. A host whose agent is dead is company too: its kernel answers. */
function isIsland(world: World, host: Host): boolean {
  const isAlone = world.hosts.every((other) => other === host || !world.reaches(host, other))
  return host.isMember && isAlone && !world.reachesGateway(host)
}

/** What the agent holds, and whom it has given up. */
function stateOf({ agent, node }: Host): Island['before'] {
  if (agent?.state().kind !== 'active') return undefined
  const claims = [...(agent.view().records.get(node)?.tasks.values() ?? [])].filter(isClaim)
  return {
    slots: new Set(claims.map(({ service, slot }) => slotId(service, slot))),
    down: downOf(agent),
  }
}

function downOf(agent: Agent | undefined): ReadonlySet<NodeId> {
  if (agent?.state().kind !== 'active') return new Set()
  return new Set([...agent.liveness()].filter(([, { kind }]) => kind === 'down').map(([id]) => id))
}

/** Some agent still has a task with this spec there: a container that could not be started is nobody's try any more. */
function isClaimed(world: World, which: SlotId, digest: SpecDigest): boolean {
  return world.hosts.some(({ agent, node }) => {
    const tasks =
      agent?.state().kind === 'active' ? agent.view().records.get(node)?.tasks.values() : undefined
    return [...(tasks ?? [])].some(
      (task) => isClaim(task) && task.digest === digest && slotId(task.service, task.slot) === which,
    )
  })
}

/** A slot of this service that was not scaled away meanwhile. */
function isWanted(
  world: World,
  which: SlotId,
  { id, spec }: { readonly id: string; readonly spec: ServiceSpec },
): boolean {
  const { service, slot } = parseSlotId(which)
  return service === id && wantedSlots(world, spec).has(String(slot))
}

/** A global service's slot on a node that is drained, as this one knows: it comes anew with the node. */
function isDrainedGlobal({ agent }: Host, which: SlotId, { spec }: { readonly spec: ServiceSpec }): boolean {
  if (spec.Mode.Global === undefined || agent?.state().kind !== 'active') return false
  return agent.view().nodes.get(parseSlotId(which).slot as NodeId)?.spec.Availability === 'drain'
}

/** It took its tasks along, as this one knows: what was being updated there is down for that. */
function hasLeft({ agent }: Host, { node }: Host): boolean {
  return agent?.view().nodes.has(node) === false
}

/** Nobody waits for a step whose engine stays down, as this one knows. */
function isEngineGivenUp({ agent }: Host, { node }: Host): boolean {
  const engine = agent?.view().records.get(node)?.status?.engine
  return engine?.state === 'down' && engine.forLong === true
}

/** Nothing of the cluster is to run there: it is drained, or no member any more. */
function isLeft(availability: string | undefined): boolean {
  return availability === undefined || availability === 'drain'
}

function placeOf(host: Host, { task }: TaskSetup): string {
  return `${host.name}/${slotId(task.service, task.slot)}`
}

/** Its address is another node's by now, or nobody's. */
function hasLostAddress({ agent, node }: Host, id: TaskId): boolean {
  const task = agent?.view().records.get(node)?.tasks.get(id)
  const networks = agent?.networks()
  return task !== undefined && networks !== undefined && lostAddresses(task, node, networks.blocks).length > 0
}

/** Somebody wants it more even, and named this very task. */
function isAskedToMove(facts: ReadonlyMap<string, unknown>, { task }: TaskSetup, { node }: Host): boolean {
  return [...facts.keys()].some((key) => key.startsWith(`move/${task.slot}/${task.attempt}/${node}/`))
}

/** What is exclusive goes first, but not before the other one lacks nothing but the lease: so the agent has heard, of a node that lives. */
function isMadeElsewhere({ agent, node: self }: Host, { task: { service, slot } }: TaskSetup): boolean {
  return [...(agent?.view().records ?? [])].some(
    ([node, { tasks }]) =>
      node !== self &&
      agent?.liveness().get(node)?.kind === 'alive' &&
      [...tasks.values()].some(
        (task) => task.service === service && task.slot === slot && task.state === 'ready' && isClaim(task),
      ),
  )
}

function isRunning({ state }: ContainerObservation): boolean {
  return state === 'running'
}

/** Replicas that may be down at a time; 0 = all, as in Docker. */
function parallelismOf(spec: ServiceSpec): number {
  return spec.UpdateConfig?.Parallelism ?? 1
}

/** By its labels: it is well once its server has said so, and not before. */
function waitsForReadiness(spec: ServiceSpec): boolean {
  return spec.Labels['moot.health.http'] !== undefined
}

/** For a person who reads the story: what the agent had read in everybody's record about the slot. */
function whatItKnew(world: World, host: Host, slot: SlotId): readonly string[] {
  const { agent } = host
  if (agent === undefined) return []
  const where = agent.placement().slots.get(slot)
  const lines = [`${host.name} places it: ${where?.kind ?? 'nowhere'}`]
  for (const [node, record] of agent.view().records) {
    const name = world.nameOf(node)
    for (const [target, { evidence, probation }] of record.alerts)
      lines.push(`${name} says of ${world.nameOf(target)}: ${evidence}${probation ? ', on probation' : ''}`)
    for (const task of record.tasks.values()) {
      if (slotId(task.service, task.slot) !== slot) continue
      const seen = task.seenEpoch === record.epoch ? '' : ', not seen since its restart'
      lines.push(
        `${name} (${agent.liveness().get(node)?.kind}): attempt ${task.attempt} ${task.state} → ${task.desired}${seen}`,
      )
    }
  }
  return lines
}

/** A host that answers, or whose agent alone is dead, said so last: what it cannot tell any more, nobody can know. */
function saidToRun({ agent }: Host, id: TaskId, { task: { service, slot } }: TaskSetup): boolean {
  return [...(agent?.view().records ?? [])].some(
    ([node, record]) =>
      ['alive', 'agent-down'].includes(agent?.liveness().get(node)?.kind ?? '') &&
      [...record.tasks.values()].some(
        (task) =>
          task.id !== id && task.service === service && task.slot === slot && task.state === 'running',
      ),
  )
}
