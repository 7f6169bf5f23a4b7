import type { NodeId, NodeRecord } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { defaults } from '../../defaults.ts'
import { type DetectorState, type DetectorStep, startDetector, stepDetector } from './detector.ts'
import { livenessOf, type MembershipView } from './liveness.ts'
import { node, recordOf } from './testing.ts'

/** Many detectors whose records reach each other at once; only probing takes time. */
function mesh(count: number) {
  const names = Array.from({ length: count }, (_, index) => node(`node-${index}`))
  const nodes = new Map(names.map((name) => [name, true]))
  let records = new Map<NodeId, NodeRecord>(names.map((name) => [name, recordOf(name)]))
  let nowMs = 0
  const dead = new Set<NodeId>()
  const viewOf = (self: NodeId): MembershipView => ({ self, nodes, records })
  const states = new Map<NodeId, DetectorState>(names.map((name) => [name, startDetector(viewOf(name), 0)]))
  const living = (): NodeId[] => names.filter((name) => !dead.has(name))

  function take(self: NodeId, step: DetectorStep): DetectorStep {
    states.set(self, step.state)
    const own = records.get(self)
    if (own === undefined || step.changes.size === 0) return step
    const alerts = new Map(own.alerts)
    for (const [target, alert] of step.changes) {
      if (alert === undefined) alerts.delete(target)
      else alerts.set(target, alert)
    }
    records = new Map(records).set(self, { ...own, seq: own.seq + 1, alerts })
    return step
  }
  function feed(self: NodeId, input: Parameters<typeof stepDetector>[1]): DetectorStep {
    return take(self, stepDetector(states.get(self) ?? startDetector(viewOf(self), 0), input, defaults))
  }
  return {
    living,
    kill: (which: (index: number) => boolean): void => {
      for (const [index, name] of names.entries()) if (which(index)) dead.add(name)
    },
    second(): void {
      for (const self of living()) {
        feed(self, { kind: 'view', view: viewOf(self), nowMs, wallMs: 0 })
        for (const target of feed(self, { kind: 'tick', nowMs, wallMs: 0 }).probe) {
          const outcome = dead.has(target) ? 'silent' : 'answered'
          feed(self, {
            kind: 'probe-result',
            target,
            outcome,
            sentAtMs: nowMs,
            nowMs: nowMs + 900,
            wallMs: 0,
          })
        }
      }
      nowMs += 1_000
    },
    /** Pairs of (survivor, other) of which the survivor thinks wrongly: dead ones not yet down, living ones down. */
    errors(): { missed: number; condemned: number } {
      let missed = 0
      let condemned = 0
      for (const self of living()) {
        for (const [other, { kind }] of livenessOf(viewOf(self))) {
          if (dead.has(other) && kind !== 'down') missed += 1
          if (!dead.has(other) && kind === 'down') condemned += 1
        }
      }
      return { missed, condemned }
    },
  }
}

describe('a mass failure', () => {
  it.each([
    { count: 20, dies: 4, withinSeconds: 6 },
    { count: 20, dies: 2, withinSeconds: 8 },
    { count: 60, dies: 2, withinSeconds: 10 },
  ])(
    'of every $dies-th of $count nodes: each survivor finds out all of the dead, and condemns no living one',
    ({ count, dies, withinSeconds }) => {
      const all = mesh(count)
      for (let second = 0; second < 3; second++) all.second()
      all.kill((index) => (index * 7919) % count < count / dies)
      expect(all.errors().missed).toBeGreaterThan(0)
      let condemned = 0
      for (let second = 0; second < withinSeconds; second++) {
        all.second()
        condemned += all.errors().condemned
      }
      expect(condemned).toBe(0)
      expect(all.errors().missed).toBe(0)
    },
  )
})
