import {
  isClaim,
  isTerminal,
  specDigest,
  type Resource,
  type ServiceSpec,
  type TaskEntry,
} from '@moot/crdt-state'
import { lostAddresses } from '../network/endpoints.ts'
import { renumberedNetworks } from './attach.ts'
import { leasedServices } from '../lease/partition-label.ts'
import { isUnleased } from './lease.ts'
import { changeTask, putTask, slotOf, tasksOfSlot, type Draft } from './draft.ts'
import { isAboutToGoBack } from './progress.ts'
import { newTaskId, specOfTask, toMs } from './spec.ts'
import { reclaimBlocks } from './tidy-blocks.ts'

type Restart = NonNullable<TaskEntry['restart']>
export type RestartVerdict =
  | { readonly kind: 'done' }
  | { readonly kind: 'restart'; readonly delayMs: number; readonly restart: Restart }

/** What a successor starts with. */
interface Again {
  readonly kind: 'restart'
  readonly delayMs: number
  readonly restart: Restart | undefined
}

/** How many restart times are carried at most: of a larger MaxAttempts each stands for several restarts. */
const recentLimit = 100

/**
 * Swarm's restart policy (swarmkit manager/orchestrator/restart): `any` is the default, MaxAttempts counts restarts
 * of this digest within a sliding Window (0 = for ever). A given Delay is honoured exactly, 0 too; without one the
 * first restart is at once and the next wait twice as long each, because a fixed 5 s (Swarm's default) is long for a
 * single crash and short for a crash loop.
 */
export function restartVerdict(
  task: TaskEntry,
  spec: ServiceSpec,
  nowMs: number,
  settings: {
    readonly restartBackoffFirstMs: number
    readonly restartBackoffMaxMs: number
  },
): RestartVerdict {
  const policy = spec.TaskTemplate.RestartPolicy ?? {}
  const condition = policy.Condition || 'any'
  if (condition === 'none' || (condition === 'on-failure' && task.state === 'complete'))
    return { kind: 'done' }

  const before = task.restart
  const maxAttempts = policy.MaxAttempts ?? 0
  const windowMs = toMs(policy.Window ?? 0)
  const total = before?.total ?? 0
  const each = Math.max(1, Math.ceil(maxAttempts / recentLimit))
  // An agent that did not count by several wrote down each: they are counted anew.
  const written = each > 1 && before?.total === undefined ? [] : (before?.recentMs ?? [])
  // A time in the future is one from before the clock was set back: it counts as old.
  const recent = written.filter((atMs) => atMs <= nowMs && atMs > nowMs - windowMs)
  const used = windowMs > 0 ? recent.length * each + (total % each) : total
  if (maxAttempts > 0 && used >= maxAttempts) return { kind: 'done' }

  const count = before?.count ?? 0
  const delayMs = policy.Delay === undefined ? backoffMs(count, settings) : toMs(policy.Delay)
  return {
    kind: 'restart',
    delayMs,
    restart: {
      count: count + 1,
      windowStartMs: count === 0 ? nowMs : (before?.windowStartMs ?? nowMs),
      notBeforeMs: nowMs + delayMs,
      ...(maxAttempts > 0 && (windowMs === 0 || each > 1) ? { total: total + 1 } : {}),
      ...(maxAttempts > 0 && windowMs > 0
        ? { recentMs: (total + 1) % each === 0 ? [...recent, nowMs] : recent }
        : {}),
    },
  }
}

function backoffMs(
  count: number,
  settings: { readonly restartBackoffFirstMs: number; readonly restartBackoffMaxMs: number },
): number {
  if (count === 0) return 0
  // 2^30 of the first step is past any maximum; the bound keeps the power finite.
  return Math.min(settings.restartBackoffFirstMs * 2 ** Math.min(count - 1, 30), settings.restartBackoffMaxMs)
}

/**
 * As if its node had died: the slot runs again, whatever the policy, and nothing is counted. There is no loop to slow down, since
 * the next one waits for a lease.
 */
function withoutPenalty({ restart }: TaskEntry, nowMs: number): Again {
  // What the one before it had to wait for is over, or was by a clock that has been set back since.
  return { kind: 'restart', delayMs: 0, restart: restart && { ...restart, notBeforeMs: nowMs } }
}

/** Over, and not yet decided what becomes of its slot. */
function isUndecided(task: TaskEntry): boolean {
  return (
    isTerminal(task.state) && task.done !== true && (task.desired === 'running' || task.desired === 'ready')
  )
}

/**
 * Step 3: what becomes of the slots of tasks that have ended. In the same write in which a task ends, its slot is
 * claimed by its successor or settled for good, so that no other node ever sees it vacant. Before the first sync
 * nothing is decided: while this node was away its slot may have been given to another (a power-cycled host must not
 * run its tasks a second time), and what the placement then says decides.
 */
export function decideEnded(draft: Draft): void {
  if (!draft.input.synced) return
  const ended = [...draft.tasks.values()].filter((task) => isUndecided(task))
  for (const task of ended.sort((a, b) => (a.id < b.id ? -1 : 1))) decide(draft, task)
}

function decide(draft: Draft, task: TaskEntry): void {
  const { mayBeLost, view, nowMs, settings } = draft.input
  const service = view.services.get(task.service)
  if (service === undefined && mayBeLost('service', task.service)) return
  const spec = service === undefined ? undefined : (specOfTask(draft, task) ?? service.spec)
  if (service === undefined || spec === undefined) {
    changeTask(draft, task, { desired: 'remove' })
    return
  }
  const whose = slotBelongs(draft, task)
  const lives = tasksOfSlot(draft, slotOf(task)).some((other) => !isTerminal(other.state))
  if (lives || task.state === 'rejected' || whose === 'another') {
    changeTask(draft, task, { desired: 'shutdown' })
    return
  }
  if (whose === 'unwanted') {
    changeTask(draft, task, { desired: 'remove' })
    return
  }
  const verdict =
    task.lostLease === true ? withoutPenalty(task, nowMs) : restartVerdict(task, spec, nowMs, settings)
  if (verdict.kind === 'done') {
    changeTask(draft, task, { desired: 'running', done: true })
    return
  }
  changeTask(draft, task, { desired: 'shutdown' })
  if (whose === 'ours') restart(draft, task, spec, unlessGoneBack(draft, task, service, verdict))
}

/**
 * What an update brought and what has failed it makes way in a moment for what was there before: to start it once more would
 * only hold that up. Where nobody writes down that all go back, it is started after all.
 */
function unlessGoneBack(
  draft: Draft,
  task: TaskEntry,
  service: Resource<ServiceSpec>,
  verdict: Again,
): Again {
  if (task.digest !== specDigest(service.spec) || !isAboutToGoBack(draft, service)) return verdict
  const { nowMs, settings } = draft.input
  const delayMs = Math.max(verdict.delayMs, settings.rollbackAwaitedMs)
  const restart = verdict.restart ?? { count: 0, windowStartMs: nowMs }
  return { kind: 'restart', delayMs, restart: { ...restart, notBeforeMs: nowMs + delayMs } }
}

/** Step 2a: what runs from before its service was exclusive makes way, as for an update, for a task that waits for a lease. */
export function replaceUnleased(draft: Draft): void {
  const { input } = draft
  if (!input.synced || !input.leases.isReady || leasedServices(input.view.services).size === 0) return
  for (const { id } of draft.own.tasks.values()) {
    const task = draft.tasks.get(id)
    if (task === undefined || !isUnleased(draft, task) || slotBelongs(draft, task) !== 'ours') continue
    const spec = specOfTask(draft, task)
    if (spec === undefined) continue
    changeTask(draft, task, { desired: 'shutdown' })
    restart(draft, task, spec, withoutPenalty(task, input.nowMs))
  }
}

/**
 * Step 2b: a task whose address is another node's by now, or nobody's, makes way for one with an address of its own. All at once: what is sent
 * to them arrives elsewhere. Where this node's own address on a network was in a lost block all its tasks there go, since a bridge has one address.
 */
export function replaceUnreachable(draft: Draft): void {
  const { networks, synced, view } = draft.input
  if (networks === undefined || !synced) return
  const renumbered = renumberedNetworks(draft)
  const reclaimed = reclaimBlocks(draft, networks)
  for (const { id } of draft.own.tasks.values()) {
    const task = draft.tasks.get(id)
    // Also of a slot that another node claims too: what was lost is forgotten in this call.
    if (task === undefined || !isClaim(task) || !(holdsSlot(draft, task) || isOurs(draft, task))) continue
    const isOnOldBridge =
      task.addresses?.some((each) => each.id !== undefined && renumbered.has(each.id)) === true
    const lost = lostAddresses(task, view.self, networks.blocks).filter((id) => !reclaimed.has(id))
    if (!isOnOldBridge && lost.length === 0) continue
    const spec = specOfTask(draft, task)
    if (spec === undefined) continue
    changeTask(draft, task, { desired: 'shutdown' })
    restart(draft, task, spec, withoutPenalty(task, draft.input.nowMs))
  }
}

function isOurs(draft: Draft, task: TaskEntry): boolean {
  return slotBelongs(draft, task) === 'ours'
}

function holdsSlot(draft: Draft, task: TaskEntry): boolean {
  const where = draft.input.placement.slots.get(slotOf(task))
  return where?.kind === 'held' && where.holder.task.id === task.id
}

/** Whose turn is it in the ended task's slot? `open`: nobody's yet, and the placement prefers another node. */
function slotBelongs(draft: Draft, task: TaskEntry): 'ours' | 'another' | 'open' | 'unwanted' {
  const { placement, view } = draft.input
  const self = view.self
  const where = placement.slots.get(slotOf(task))
  if (where === undefined) return 'unwanted'
  switch (where.kind) {
    case 'held':
      // Ours by right, but ended, while another node has it too (this one was away): what runs there stays.
      return where.holder.node === self && where.losers.every((claim) => claim.node === self)
        ? 'ours'
        : 'another'
    case 'moving':
      // The slot is leaving the node that it was on; only its successor goes on.
      return where.successor?.node === self ? 'ours' : 'another'
    case 'vacant':
      return where.to === self ? 'ours' : 'open'
    case 'pending':
      return 'open'
  }
}

function restart(draft: Draft, task: TaskEntry, spec: ServiceSpec, verdict: Again): void {
  const service = draft.input.view.services.get(task.service)
  if (service === undefined) return
  const attempt = nextAttempt(draft, task)
  const { nowMs } = draft.input
  const id = newTaskId(draft, slotOf(task), attempt)
  putTask(draft, {
    id,
    service: task.service,
    slot: task.slot,
    attempt,
    digest: specDigest(spec),
    serviceVersion: service.versionIndex,
    // `ready`: its container is made while it waits, as Swarm does.
    desired: verdict.delayMs > 0 ? 'ready' : 'running',
    state: 'assigned',
    createdAtMs: nowMs,
    stateAtMs: nowMs,
    ...(verdict.restart !== undefined && {
      restart: isAfterIllness(task) ? { ...verdict.restart, afterIllness: true } : verdict.restart,
    }),
    ...(task.constraints !== undefined && { constraints: task.constraints }),
  })
}

/** It was stopped for ill health, or came after one that was and has not been well. */
export function isAfterIllness(task: TaskEntry | undefined): boolean {
  return task?.illness?.kind === 'stopping' || task?.restart?.afterIllness === true
}

/** Its restarts are counted anew; that its slot is down for ill health is not forgotten on the way. */
export function notWellYet(nowMs: number): Restart {
  return { count: 0, windowStartMs: nowMs, notBeforeMs: nowMs, afterIllness: true }
}

/** What is not to be tried before, though it has not been restarted. */
export function notBefore(atMs: number, nowMs: number): Restart {
  return { count: 0, windowStartMs: nowMs, notBeforeMs: Math.max(atMs, nowMs) }
}

/** One more than any attempt of the slot that this node knows of. */
export function nextAttempt(draft: Draft, task: Pick<TaskEntry, 'service' | 'slot' | 'attempt'>): number {
  const slot = slotOf(task as TaskEntry)
  let highest = task.attempt
  for (const other of tasksOfSlot(draft, slot)) highest = Math.max(highest, other.attempt)
  const where = draft.input.placement.slots.get(slot)
  if (where?.kind === 'held') highest = Math.max(highest, where.holder.task.attempt)
  if (where?.kind === 'moving')
    highest = Math.max(highest, where.holder.task.attempt, where.successor?.task.attempt ?? 0)
  return highest + 1
}
