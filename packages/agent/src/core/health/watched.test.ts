import type { ContainerId, TaskId } from '@moot/crdt-state'
import { describe, expect, test } from 'vitest'
import { defaults } from '../../defaults.ts'
import type { HealthProbe, HealthProbes, ProbeAnswer, ProbeRole } from './probe.ts'
import { standingOf } from './standing.ts'
import type { Subject } from './subjects.ts'
import { answered, asking, dueProbes, follow, type Watched, type WatchedContainers } from './watched.ts'

const check = { kind: 'tcp', port: 80 } as const
const probe: HealthProbe = { check, intervalMs: 10_000, timeoutMs: 1_000, retries: 3, startPeriodMs: 0 }
const no = { kind: 'failed', why: 'TCP :80 → connection refused' } as const satisfies ProbeAnswer
const yes: ProbeAnswer = { kind: 'passed' }

function subjectOf(probes: HealthProbes, given: Partial<Subject> = {}): Subject {
  const container = 'c1' as ContainerId
  return {
    task: 'task' as TaskId,
    container,
    probes,
    address: '10.0.0.2',
    isUp: false,
    failed: {},
    ...given,
  }
}

/** One container and its time; each answer comes a millisecond after its question. */
class Played {
  nowMs = 0
  all: WatchedContainers = new Map()
  subject: Subject

  constructor(probes: HealthProbes, given: Partial<Subject> = {}) {
    this.subject = subjectOf(probes, given)
    this.follow(this.subject)
  }

  get one(): Watched {
    return this.all.get(this.subject.container)!
  }

  get standing(): string {
    const standing = standingOf(this.one)
    const says = 'by' in standing ? `, says the ${standing.by}` : ''
    return 'why' in standing && standing.why !== undefined
      ? `${standing.kind}: ${standing.why}${says}`
      : standing.kind
  }

  follow(subject: Subject): void {
    this.subject = subject
    this.all = follow(this.all, [subject], this.nowMs, defaults)
  }

  /** Until then, each question is answered so; what was asked when. */
  until(endMs: number, answerTo: (role: ProbeRole) => ProbeAnswer): readonly string[] {
    const asked: string[] = []
    for (;;) {
      const { due, lookAtMs } = dueProbes(this.all, this.nowMs, defaults)
      for (const { role } of due) {
        asked.push(`${role} ${this.nowMs}`)
        this.all = new Map([[this.subject.container, asking(this.one, role, this.nowMs)]])
        this.nowMs += 1
        const next = answered(this.one, role, answerTo(role), this.nowMs, defaults)
        this.all = new Map([[this.subject.container, next]])
      }
      if (due.length > 0) continue
      if (lookAtMs === undefined || lookAtMs > endMs) break
      this.nowMs = lookAtMs
    }
    this.nowMs = endMs
    return asked
  }
}

describe('a container that starts', () => {
  test('is starting until its readiness has come, which is asked for more often than the interval says', () => {
    const played = new Played({ readiness: probe })
    expect(played.standing).toBe('starting')
    const asked = played.until(3_000, () => no)
    expect(asked.length).toBeGreaterThanOrEqual(5)
    expect(played.standing).toBe('starting: readiness: TCP :80 → connection refused')
    played.until(3_600, () => yes)
    expect(played.standing).toBe('well')
  })

  test('is ill once its readiness has not come for as long as its retries would take', () => {
    const played = new Played({ readiness: { ...probe, startPeriodMs: 20_000 } })
    played.until(49_000, () => no)
    expect(played.standing).toMatch(/^starting/)
    played.until(51_000, () => no)
    expect(played.standing).toBe('ill: readiness: TCP :80 → connection refused')
  })

  test('is alive until its liveness has failed so often in a row, and not before its start period is over', () => {
    const played = new Played({ liveness: { ...probe, startPeriodMs: 30_000 } })
    expect(played.standing).toBe('well')
    played.until(45_000, () => no)
    expect(played.standing).toBe('well')
    played.until(60_000, () => no)
    expect(played.standing).toBe('ill: liveness: TCP :80 → connection refused')
  })

  test('is asked nothing else before its startup has succeeded; then the others have all their time', () => {
    const played = new Played({ startup: probe, readiness: probe, liveness: probe })
    const before = played.until(25_000, () => no)
    expect(before.every((each) => each.startsWith('startup'))).toBe(true)
    expect(played.standing).toBe('starting: startup: TCP :80 → connection refused')
    const after = played.until(54_000, (role) => (role === 'startup' ? yes : no))
    expect(after.filter((each) => each.startsWith('startup'))).toHaveLength(1)
    expect(played.standing).toMatch(/^ill: liveness|^starting: readiness/)
    played.until(60_000, () => no)
    expect(played.standing).toMatch(/^ill/)
  })

  test('is ill when its startup takes too long', () => {
    const played = new Played({ startup: probe, liveness: probe })
    played.until(31_000, () => no)
    expect(played.standing).toBe('ill: startup: TCP :80 → connection refused')
  })
})

describe('a container that was well', () => {
  test('is unready after so many failures, and ready after one success', () => {
    const played = new Played({ readiness: probe }, { isUp: true })
    expect(played.standing).toBe('well')
    const asked = played.until(24_000, () => no)
    expect(asked).toHaveLength(3)
    expect(played.standing).toBe('unready: readiness: TCP :80 → connection refused')
    played.until(100_000, () => no)
    expect(played.standing).toMatch(/^unready/)
    played.until(111_000, () => yes)
    expect(played.standing).toBe('well')
  })

  test('is well again when a late good answer comes', () => {
    const played = new Played({ liveness: probe }, { isUp: true })
    played.until(40_000, () => no)
    expect(played.standing).toMatch(/^ill/)
    // Soon: its turn to be stopped may come at any time.
    played.until(40_600, () => yes)
    expect(played.standing).toBe('well')
  })

  test('one failure now and then is nothing', () => {
    const played = new Played({ readiness: probe, liveness: probe }, { isUp: true })
    let count = 0
    played.until(600_000, () => (count++ % 3 === 0 ? yes : no))
    expect(played.standing).toBe('well')
  })

  test('stays what its record says when its agent meets it anew, and is not asked for its startup', () => {
    const probes = { startup: probe, readiness: probe, liveness: probe }
    const played = new Played(probes, { isUp: true, failed: { readiness: no.why } })
    expect(played.standing).toBe('unready: readiness: TCP :80 → connection refused')
    const asked = played.until(6_000, () => no)
    expect(new Set(asked.map((each) => each.split(' ')[0]))).toEqual(new Set(['liveness', 'readiness']))
    expect(played.standing).toMatch(/^unready/)
  })

  test('that was ill when its agent restarted is so until it says otherwise', () => {
    const played = new Played(
      { liveness: probe },
      { isUp: true, failed: { liveness: `liveness: ${no.why}` } },
    )
    expect(played.standing).toBe('ill: liveness: TCP :80 → connection refused, says the record')
    played.until(6_000, () => no)
    expect(played.standing).toBe('ill: liveness: TCP :80 → connection refused')
    played.until(12_000, () => yes)
    expect(played.standing).toBe('well')
  })

  test('that is asked something else from now on is what it was, until it has answered that', () => {
    const played = new Played({ readiness: probe }, { isUp: true })
    played.until(24_000, () => no)
    const other = { ...probe, check: { ...check, port: 81 } }
    played.follow(subjectOf({ readiness: other }, { isUp: true }))
    expect(played.standing).toMatch(/^unready/)
    const asked = played.until(30_000, () => yes)
    expect(asked).toHaveLength(1)
    expect(played.standing).toBe('well')
  })

  test('whose probe is taken away is well', () => {
    const played = new Played({ readiness: probe, liveness: probe }, { isUp: true })
    played.until(24_000, (role) => (role === 'readiness' ? no : yes))
    expect(played.standing).toMatch(/^unready/)
    played.follow(subjectOf({ liveness: probe }, { isUp: true }))
    expect(played.standing).toBe('well')
  })
})

describe('whose turn it is', () => {
  const many = (count: number): readonly Subject[] =>
    Array.from({ length: count }, (_, index) =>
      subjectOf({ readiness: probe }, { container: `c${index}` as ContainerId, isUp: true }),
    )

  test('containers that are met together are asked at times of their own', () => {
    const all = follow(new Map(), many(200), 0, defaults)
    const times = [...all.values()].map(({ states }) => states.get('readiness')!.dueAtMs!)
    expect(Math.max(...times)).toBeLessThanOrEqual(defaults.healthAdoptWithinMs)
    for (let tenth = 0; tenth < 10; tenth += 1) {
      const within = times.filter((ms) => Math.floor((ms / defaults.healthAdoptWithinMs) * 10) === tenth)
      expect(within.length).toBeGreaterThan(5)
    }
  })

  test('so many are asked at once; whoever does not answer soon gives its place to the next', () => {
    let all = follow(new Map(), many(200), 0, defaults)
    const nowMs = 10_000
    const first = dueProbes(all, nowMs, defaults)
    expect(first.due).toHaveLength(defaults.healthProbesAtOnce)
    for (const { container, role } of first.due)
      all = new Map(all).set(container, asking(all.get(container)!, role, nowMs))
    const full = dueProbes(all, nowMs + 1, defaults)
    expect(full).toEqual({ due: [], lookAtMs: nowMs + defaults.healthGiveWayMs })
    const second = dueProbes(all, nowMs + defaults.healthGiveWayMs, defaults)
    expect(second.due).toHaveLength(defaults.healthProbesAtOnce)
    expect(second.due.some(({ container }) => first.due.some((each) => each.container === container))).toBe(
      false,
    )
  })

  test('nothing is asked twice at a time, and nobody is asked who is gone', () => {
    const [subject] = many(1)
    let all = follow(new Map(), [subject!], 0, defaults)
    all = new Map(all).set(subject!.container, asking(all.get(subject!.container)!, 'readiness', 6_000))
    expect(dueProbes(all, 100_000, defaults)).toEqual({ due: [], lookAtMs: undefined })
    expect(follow(all, [], 100_000, defaults).size).toBe(0)
  })
})
