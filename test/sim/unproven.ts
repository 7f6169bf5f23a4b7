import {
  isTerminal,
  parseSlotId,
  resumedTimes,
  type NodeId,
  type Resource,
  type ServiceId,
  type Slot,
  type SlotId,
  slotId,
  specDigest,
  updateKey,
  type ServiceSpec,
  type SpecDigest,
  type TaskId,
  type UpdateConfig,
} from '@moot/crdt-state'
import type { Agent } from '../../packages/agent/src/agent.ts'
import type { ContainerObservation, TaskSetup } from '../../packages/agent/src/core/reconcile/actions.ts'
import type { Host } from './host.ts'
import { wantedSlots } from './promises.ts'
import type { World } from './world.ts'

/** A task that has been well for so long has passed its step: the Monitor of the services here, by the fastest clock, ms. */
const provenAfterMs = 900

/** A slot that runs a spec which has proved itself nowhere. */
interface Trial {
  readonly at: Host
  readonly task: TaskId
  readonly digest: SpecDigest
  /** It was over when people asked for something anew. */
  readonly isPast?: true
}

/**
 * A spec that has proved itself in no slot costs what its update allows and no more: so many slots that ran another have it at a time,
 * whoever fills them and why, and of those that ran well so many are down.
 */
export class Unproven {
  readonly #world: World
  readonly #tell: (line: string) => void
  /** Of one connected side: elsewhere nobody can know what others try. */
  readonly #isStrict: boolean
  /** Since when a task is well, and with what. */
  readonly #wellSinceMs = new Map<TaskId, number>()
  /** Specs that were well for long enough, in whichever slot. */
  readonly #proven = new Map<ServiceId, Set<SpecDigest>>()
  /** What was well in a slot last, however briefly. */
  readonly #ran = new Map<SlotId, SpecDigest>()
  /** Of each service since it has its newest spec: the slots that have run another well since, or did so then. */
  readonly #served = new Map<ServiceId, { readonly digest: SpecDigest; readonly slots: Set<SlotId> }>()
  /** What people have asked for of each service, and how often they have let it go on. */
  readonly #asked = new Map<ServiceId, string>()
  /** By slot; of each slot its newest. */
  readonly #trials = new Map<SlotId, Trial>()
  /** Slots whose task was well and went for an update, and in which nothing has been well for long enough since. */
  readonly #down = new Map<SlotId, Host>()

  constructor(world: World, isStrict: boolean, tell: (line: string) => void) {
    this.#world = world
    this.#isStrict = isStrict
    this.#tell = tell
  }

  observed(host: Host, setup: TaskSetup, observation: ContainerObservation): void {
    if (!this.#isStrict) return
    const slot = slotId(setup.task.service, setup.task.slot)
    const service = viewOf(host)?.services.get(setup.task.service)
    this.#look(host)
    this.#settle()
    if (service !== undefined) this.#forgetUnwanted(host, service)
    // What is made ready and then not wanted any more has cost nothing.
    if (observation.state === 'running' && service !== undefined) this.#begins(host, setup, slot, service)
    if (isWell(observation)) this.#isWell(setup, slot)
    else this.#wellSinceMs.delete(setup.task.id)
  }

  /** A task that was well is stopped for an update, and nothing else in its slot is well. */
  stoppedForUpdate(host: Host, setup: TaskSetup, service: Resource<ServiceSpec>): void {
    this.#settle()
    this.#forgetUnwanted(host, service)
    const allowed = allowedOf(this.#world, service)
    this.#down.set(slotId(setup.task.service, setup.task.slot), host)
    // From here on it serves nobody.
    this.#wellSinceMs.delete(setup.task.id)
    if (allowed === undefined || this.#isProven(service)) return
    const down = [...this.#down].filter(
      ([slot, at]) => this.#counts(host, at, slot, service) && !this.#isServed(slot),
    )
    if (down.length > allowed)
      this.#tell(
        `an update of ${service.name} that nowhere went well has ${down.length} slots down, of ${allowed} allowed`,
      )
  }

  #begins(host: Host, setup: TaskSetup, slot: SlotId, service: Resource<ServiceSpec>): void {
    const digest = specDigest(setup.spec)
    const before = this.#ran.get(slot)
    const known = this.#trials.get(slot)
    const hadItsTurn = known?.digest === digest
    // What was down before this spec came costs nothing more.
    const isServed = this.#served.get(setup.task.service)?.slots.has(slot) === true
    const isOther = isServed && before !== undefined && before !== digest
    // What was gone back to has run before.
    const isNewest = digest === specDigest(service.spec) && service.failure === undefined
    if (!isNewest || this.#isProven(service) || !(isOther || hadItsTurn)) return
    // What is tried again where it failed is no step.
    if (hadItsTurn && known.at === host) return
    this.#trials.set(slot, { at: host, task: setup.task.id, digest })
    // Made anew by another, where its node has left in the middle.
    if (hadItsTurn) return
    const tried = [...this.#trials].filter(
      ([other, trial]) =>
        trial.digest === digest && trial.isPast !== true && this.#counts(host, trial.at, other, service),
    )
    const parallelism = parallelismOf(service)
    const inAll = allowedOf(this.#world, service)
    const allowed = inAll ?? parallelism
    // What goes on whatever fails does so when it has.
    const counted = inAll === undefined ? tried.filter(([, trial]) => !isOver(trial)) : tried
    if (parallelism === 0 || counted.length <= allowed) return
    const slots = counted.map(([other]) => parseSlotId(other).slot).join(', ')
    this.#tell(
      `${service.name} runs a spec that has been well nowhere in ${counted.length} slots (${slots}), of ${allowed} allowed`,
    )
  }

  #isWell({ task, spec }: TaskSetup, slot: SlotId): void {
    if (!this.#wellSinceMs.has(task.id)) this.#wellSinceMs.set(task.id, this.#world.nowMs)
    this.#ran.set(slot, specDigest(spec))
  }

  /** Services that have another spec than before: from now on what is well counts. */
  #look(host: Host): void {
    for (const [id, { spec, facts }] of viewOf(host)?.services ?? []) {
      const digest = specDigest(spec)
      const asked = `${updateKey(spec)} ${resumedTimes(facts, digest)}`
      if (this.#asked.get(id) !== asked) this.#passFailed(id)
      this.#asked.set(id, asked)
      if (this.#served.get(id)?.digest !== digest) this.#served.set(id, { digest, slots: new Set() })
    }
  }

  /** People let all begin anew: what failed before costs nothing more. */
  #passFailed(id: ServiceId): void {
    for (const [slot, trial] of this.#trials) {
      const found = trial.at.engine.containers().find(({ setup }) => setup.task.id === trial.task)
      const isOver = found?.observation.state !== 'running'
      if (parseSlotId(slot).service === id && isOver) this.#trials.set(slot, { ...trial, isPast: true })
    }
  }

  /** What has been well for long enough by now has proved its spec, and its slot is up. */
  #settle(): void {
    for (const { engine } of this.#world.hosts) {
      for (const { setup } of engine.containers()) {
        const sinceMs = this.#wellSinceMs.get(setup.task.id)
        if (sinceMs === undefined || this.#world.nowMs - sinceMs < provenAfterMs) continue
        const { service, slot } = setup.task
        const served = this.#served.get(service)
        if (served !== undefined && served.digest !== specDigest(setup.spec))
          served.slots.add(slotId(service, slot))
        this.#proven.set(service, (this.#proven.get(service) ?? new Set()).add(specDigest(setup.spec)))
        this.#down.delete(slotId(service, slot))
      }
    }
  }

  #isProven({ id, spec }: Resource<ServiceSpec>): boolean {
    return this.#proven.get(id as ServiceId)?.has(specDigest(spec)) === true
  }

  #isServed(which: SlotId): boolean {
    const { service, slot } = parseSlotId(which)
    return this.#world.hosts
      .flatMap(({ engine }) => engine.containers())
      .some(
        ({ setup: { task }, observation }) =>
          task.service === service && task.slot === slot && isWell(observation),
      )
  }

  /** Nobody waits for who has left, nor for an engine that is away. */
  #counts(self: Host, at: Host, slot: SlotId, service: Resource<ServiceSpec>): boolean {
    const isOfIt = parseSlotId(slot).service === service.id
    return isOfIt && viewOf(self)?.nodes.has(at.node) === true && !at.engine.isDown
  }

  /** A slot that is scaled away, or whose node is drained, has run nothing when it comes again. */
  #forgetUnwanted(host: Host, { id, spec }: Resource<ServiceSpec>): void {
    const wanted = wantedSlots(this.#world, spec)
    const nodes = spec.Mode.Global === undefined ? undefined : viewOf(host)?.nodes
    const isDrained = (slot: Slot): boolean => nodes?.get(slot as NodeId)?.spec.Availability === 'drain'
    for (const known of [this.#ran, this.#trials, this.#down]) {
      for (const which of known.keys()) {
        const { service, slot } = parseSlotId(which)
        if (service === id && (isDrained(slot) || !wanted.has(String(slot)))) known.delete(which)
      }
    }
  }
}

/** Undefined: it belongs to no cluster. */
function viewOf({ agent, isMember }: Host): ReturnType<Agent['view']> | undefined {
  return isMember ? agent?.view() : undefined
}

/** It runs, and as far as its engine knows well. */
export function isWell({ state, health }: ContainerObservation): boolean {
  return state === 'running' && (health === 'none' || health === 'healthy')
}

/** It is well for now, has ended, or gets no better, as its host says. */
function isOver({ at, task: id }: Trial): boolean {
  const task = viewOf(at)?.records.get(at.node)?.tasks.get(id)
  const found = at.engine.containers().find(({ setup }) => setup.task.id === id)
  const isSettled =
    found !== undefined && (isWell(found.observation) || found.observation.health === 'unhealthy')
  return isSettled || task === undefined || isTerminal(task.state)
}

function configOf({ spec, rolledBack }: Resource<ServiceSpec>): UpdateConfig | undefined {
  return rolledBack ? spec.RollbackConfig : spec.UpdateConfig
}

function parallelismOf(service: Resource<ServiceSpec>): number {
  return configOf(service)?.Parallelism ?? 1
}

/** Parallelism and the failures that are tolerated; undefined: an update that goes on whatever fails, or all at once. */
function allowedOf(world: World, service: Resource<ServiceSpec>): number | undefined {
  const { FailureAction, MaxFailureRatio = 0 } = configOf(service) ?? {}
  const parallelism = parallelismOf(service)
  if (FailureAction === 'continue' || parallelism === 0) return undefined
  return parallelism + Math.floor(MaxFailureRatio * wantedSlots(world, service.spec).size)
}
