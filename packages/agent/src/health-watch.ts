import { isDeepStrictEqual } from 'node:util'
import type { ContainerId } from '@moot/crdt-state'
import type { HealthProbe, ProbeAnswer } from './core/health/probe.ts'
import { type HealthStanding, standingOf } from './core/health/standing.ts'
import type { Subject } from './core/health/subjects.ts'
import {
  answered,
  asking,
  type DueProbe,
  dueProbes,
  follow,
  type Watched,
  type WatchedContainers,
} from './core/health/watched.ts'
import type { Defaults } from './defaults.ts'
import type { Clock } from './ports/clock.ts'
import { failure, type Prober } from './ports/prober.ts'

/** Has this node's containers probed, as their labels ask for. */
export interface HealthWatch {
  /** Of the containers that are probed. */
  standings(): ReadonlyMap<ContainerId, HealthStanding>
  /** Tasks, containers or labels may have changed. */
  look(): void
  stop(): Promise<void>
}

interface Question {
  readonly container: ContainerId
  readonly abort: AbortController
}

/** Who is asked when, and what the answers mean, `core/health` says; this keeps the time and the questions under way. */
export function createHealthWatch(options: {
  readonly prober: Prober
  readonly clock: Clock
  readonly settings: Defaults
  readonly subjects: () => readonly Subject[]
  /** Some container's standing is another. */
  readonly changed: () => void
}): HealthWatch {
  const { prober, clock, settings, changed } = options
  let watched: WatchedContainers = new Map()
  let standings: ReadonlyMap<ContainerId, HealthStanding> = new Map()
  const underWay = new Map<Question, Promise<void>>()
  let cancelLook: () => void = () => undefined
  const stopping = new AbortController()

  function look(): void {
    if (stopping.signal.aborted) return
    watched = follow(watched, options.subjects(), clock.monotonicMs(), settings)
    for (const { container, abort } of underWay.keys()) if (!watched.has(container)) abort.abort(isOver)
    restate()
    askThoseDue()
  }

  /** Of all: who was the same before keeps its standing as it is. */
  function restate(): void {
    const before = standings
    let isNew = false
    standings = new Map(
      [...watched].map(([container, one]) => {
        const known = before.get(container)
        const now = standingOf(one)
        if (known !== undefined && isDeepStrictEqual(known, now)) return [container, known]
        isNew = true
        return [container, now]
      }),
    )
    if (isNew) changed()
  }

  function askThoseDue(): void {
    cancelLook()
    const nowMs = clock.monotonicMs()
    const { due, lookAtMs } = dueProbes(watched, nowMs, settings)
    for (const each of due) ask(each, nowMs)
    if (lookAtMs !== undefined) cancelLook = clock.after(Math.max(1, lookAtMs - nowMs), askThoseDue)
  }

  function ask(which: DueProbe, nowMs: number): void {
    const { container, role } = which
    const one = watched.get(container)
    const probe = one?.states.get(role)?.probe
    if (one === undefined || probe === undefined) return
    put(container, asking(one, role, nowMs))
    const question: Question = { container, abort: new AbortController() }
    const answering = answerOf(one.subject, probe, question.abort.signal)
    underWay.set(question, heard(which, question, probe, answering))
  }

  async function heard(
    which: DueProbe,
    question: Question,
    probe: HealthProbe,
    answering: Promise<ProbeAnswer | undefined>,
  ): Promise<void> {
    const answer = await answering
    underWay.delete(question)
    if (answer !== undefined) take(which, probe, answer)
  }

  /** Undefined: nobody waits for it any more. */
  async function answerOf(
    { address }: Subject,
    { check, timeoutMs }: HealthProbe,
    signal: AbortSignal,
  ): Promise<ProbeAnswer | undefined> {
    if (address === undefined) return failure(check, '→ it has no address that its host reaches')
    try {
      return await prober.probe({ address, check, timeoutMs }, signal)
    } catch (error) {
      return signal.aborted ? undefined : failure(check, `→ ${String(error)}`)
    }
  }

  function take({ container, role }: DueProbe, probe: HealthProbe, answer: ProbeAnswer): void {
    const one = watched.get(container)
    // It has ended meanwhile, or is asked something else by now.
    if (stopping.signal.aborted || one?.states.get(role)?.probe !== probe) return
    const now = answered(one, role, answer, clock.monotonicMs(), settings)
    put(container, now)
    askThoseDue()
    const known = standings.get(container)
    const standing = standingOf(now)
    if (known !== undefined && isDeepStrictEqual(known, standing)) return
    standings = new Map(standings).set(container, standing)
    changed()
  }

  function put(container: ContainerId, one: Watched): void {
    watched = new Map(watched).set(container, one)
  }

  return {
    standings: () => standings,
    look,
    async stop() {
      stopping.abort()
      cancelLook()
      for (const { abort } of underWay.keys()) abort.abort(isOver)
      await Promise.all(underWay.values())
    },
  }
}

const isOver = new Error('the task is not probed any more')
