import type { ContainerId, TaskId } from '@moot/crdt-state'
import type { Defaults } from '../../defaults.ts'
import { hashText } from '../hash.ts'
import { type HealthProbe, type ProbeAnswer, type ProbeRole, probeRoles } from './probe.ts'
import type { Subject } from './subjects.ts'

type Settings = Pick<Defaults, 'healthStartIntervalMs' | 'healthAdoptWithinMs'>

/** What has become of one probe of one container so far. Times are of the monotonic clock. */
export interface ProbeState {
  readonly probe: HealthProbe
  /** Its start period, and the time that it is given to succeed for the first time, count from here. */
  readonly sinceMs: number
  /** Undefined: it waits for another probe, or has had its say. */
  readonly dueAtMs: number | undefined
  /** Since when an answer is waited for. */
  readonly askedAtMs: number | undefined
  readonly asked: number
  readonly hasSucceeded: boolean
  /** In a row, of those that count. */
  readonly failures: number
  readonly verdict: 'open' | 'good' | 'bad'
  /** Of the failure that made it bad, or that keeps it open. */
  readonly why: string | undefined
}

/** A container whose health is asked for. */
export interface Watched {
  readonly subject: Subject
  readonly states: ReadonlyMap<ProbeRole, ProbeState>
}

export type WatchedContainers = ReadonlyMap<ContainerId, Watched>

/**
 * Goes on with those that still run. What was up when it is met first (the agent has restarted, or the labels are new) is
 * taken for what its record says, until its probes say otherwise: nothing becomes unready because an agent restarted.
 */
export function follow(
  before: WatchedContainers,
  subjects: readonly Subject[],
  nowMs: number,
  settings: Settings,
): WatchedContainers {
  const after = new Map<ContainerId, Watched>()
  for (const subject of subjects) {
    const known = before.get(subject.container)
    if (known !== undefined && known.subject.probes === subject.probes) {
      after.set(subject.container, { ...known, subject })
      continue
    }
    const states = new Map<ProbeRole, ProbeState>()
    for (const role of probeRoles) {
      const probe = subject.probes[role]
      if (probe === undefined) continue
      const state = known?.states.get(role)
      const isSame = state !== undefined && JSON.stringify(state.probe) === JSON.stringify(probe)
      states.set(role, isSame ? state : begun(subject, role, probe, state, nowMs, settings))
    }
    after.set(subject.container, { subject, states: released(subject.container, states, nowMs, settings) })
  }
  return after
}

function begun(
  subject: Subject,
  role: ProbeRole,
  probe: HealthProbe,
  before: ProbeState | undefined,
  nowMs: number,
  settings: Settings,
): ProbeState {
  const base = { probe, sinceMs: nowMs, askedAtMs: undefined, asked: 0, failures: 0 }
  // Another question: the last word counts until this one has been answered.
  const isKnown = before !== undefined && before.verdict !== 'open'
  if (!isKnown && !subject.isUp)
    return { ...base, dueAtMs: undefined, hasSucceeded: false, verdict: 'open', why: undefined }
  const withinMs = Math.min(probe.intervalMs, settings.healthAdoptWithinMs)
  const dueAtMs = nowMs + withinMs * fraction(subject.container, role, 0)
  if (isKnown) return { ...base, dueAtMs, hasSucceeded: true, verdict: before.verdict, why: before.why }
  if (role === 'startup')
    return { ...base, dueAtMs: undefined, hasSucceeded: true, verdict: 'good', why: undefined }
  const why = subject.failed[role]
  return { ...base, dueAtMs, hasSucceeded: true, verdict: why === undefined ? 'good' : 'bad', why }
}

/** Startup holds back the others until it has succeeded once; from then on they have all their time. */
function released(
  container: ContainerId,
  states: ReadonlyMap<ProbeRole, ProbeState>,
  nowMs: number,
  settings: Settings,
): ReadonlyMap<ProbeRole, ProbeState> {
  const startup = states.get('startup')
  const isStarted = startup === undefined || startup.hasSucceeded
  const next = new Map(states)
  for (const [role, state] of states) {
    const waits = state.dueAtMs === undefined && state.askedAtMs === undefined && !state.hasSucceeded
    if (!waits || (role !== 'startup' && !isStarted)) continue
    const firstMs =
      role === 'liveness'
        ? state.probe.intervalMs
        : Math.min(state.probe.intervalMs, settings.healthStartIntervalMs) * fraction(container, role, 0)
    next.set(role, { ...state, sinceMs: nowMs, dueAtMs: nowMs + firstMs })
  }
  return next
}

export function asking(watched: Watched, role: ProbeRole, nowMs: number): Watched {
  const state = watched.states.get(role)
  if (state === undefined) return watched
  const asked = { ...state, askedAtMs: nowMs, dueAtMs: undefined, asked: state.asked + 1 }
  return { ...watched, states: new Map(watched.states).set(role, asked) }
}

export function answered(
  watched: Watched,
  role: ProbeRole,
  answer: ProbeAnswer,
  nowMs: number,
  settings: Settings,
): Watched {
  const { subject, states } = watched
  const state = states.get(role)
  if (state === undefined) return watched
  const next = answer.kind === 'passed' ? passed(state) : failed(state, role, answer.why, nowMs)
  const dueAtMs =
    role === 'startup' && next.hasSucceeded
      ? undefined
      : nowMs + waitMs(next, role, subject.container, settings)
  const after = new Map(states).set(role, { ...next, askedAtMs: undefined, dueAtMs })
  return { subject, states: released(subject.container, after, nowMs, settings) }
}

function passed(state: ProbeState): ProbeState {
  return { ...state, hasSucceeded: true, failures: 0, verdict: 'good', why: undefined }
}

/**
 * Docker's count: failures in a row, and none in the start period before the first success. What has never succeeded and
 * is waited for is asked more often than the interval says, so that it has as much time, not as many tries.
 */
function failed(state: ProbeState, role: ProbeRole, why: string, nowMs: number): ProbeState {
  const { probe, sinceMs, hasSucceeded } = state
  const counts = hasSucceeded || nowMs - sinceMs >= probe.startPeriodMs
  const failures = counts ? state.failures + 1 : 0
  const isOver =
    hasSucceeded || role === 'liveness'
      ? failures >= probe.retries
      : nowMs - sinceMs >= probe.startPeriodMs + probe.retries * probe.intervalMs
  if (state.verdict === 'bad') return { ...state, failures }
  if (isOver) return { ...state, failures, verdict: 'bad', why }
  return { ...state, failures, ...(state.verdict === 'open' && { why }) }
}

/** At most so much sooner than the interval says: tasks that were started together are soon asked apart. */
const jitterShare = 0.1

function waitMs(state: ProbeState, role: ProbeRole, container: ContainerId, settings: Settings): number {
  const { intervalMs } = state.probe
  // Somebody waits for it: an update, or one who is to be stopped unless he gets well before his turn comes.
  if (role === 'liveness' ? state.verdict === 'bad' : state.verdict === 'open')
    return Math.min(intervalMs, settings.healthStartIntervalMs)
  return intervalMs * (1 - jitterShare * fraction(container, role, state.asked))
}

/** Of 1, and always the same of the same. */
function fraction(container: ContainerId, role: ProbeRole, count: number): number {
  return hashText(`${container}/${role}/${count}`) / 2 ** 32
}

export interface DueProbe {
  readonly container: ContainerId
  readonly task: TaskId
  readonly role: ProbeRole
}

/**
 * Which are asked now, those first that have waited longest, and when to look again. So many are asked at a time; one that
 * is not answered soon gives its place to the next, so that a slow target costs only its own time.
 */
export function dueProbes(
  watched: WatchedContainers,
  nowMs: number,
  settings: Pick<Defaults, 'healthProbesAtOnce' | 'healthGiveWayMs'>,
): { readonly due: readonly DueProbe[]; readonly lookAtMs: number | undefined } {
  const due: (DueProbe & { readonly dueAtMs: number })[] = []
  const placesFreeAtMs: number[] = []
  let lookAtMs = Infinity
  for (const [container, { subject, states }] of watched) {
    for (const [role, { dueAtMs, askedAtMs }] of states) {
      if (askedAtMs !== undefined && nowMs < askedAtMs + settings.healthGiveWayMs)
        placesFreeAtMs.push(askedAtMs + settings.healthGiveWayMs)
      if (dueAtMs === undefined) continue
      if (dueAtMs <= nowMs) due.push({ container, task: subject.task, role, dueAtMs })
      else lookAtMs = Math.min(lookAtMs, dueAtMs)
    }
  }
  const places = Math.max(0, settings.healthProbesAtOnce - placesFreeAtMs.length)
  if (due.length > places) lookAtMs = Math.min(lookAtMs, ...placesFreeAtMs, nowMs + settings.healthGiveWayMs)
  const first = due.toSorted((a, b) => a.dueAtMs - b.dueAtMs).slice(0, places)
  return { due: first, lookAtMs: lookAtMs === Infinity ? undefined : lookAtMs }
}
