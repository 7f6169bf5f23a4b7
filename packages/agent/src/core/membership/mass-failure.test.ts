import type { NodeId, NodeRecord } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { defaults } from '../../defaults.ts'
import { type DetectorState, type DetectorStep, type Probe, startDetector } from './detector-state.ts'
import { stepDetector } from './detector.ts'
import { livenessOf, type MembershipView } from './liveness.ts'
import { node, recordOf } from './testing.ts'

const tickMs = defaults.probeIntervalMs
const patienceMs = defaults.probeTimeoutMinMs

/** Many detectors whose records reach each other at once; only probing takes time. */
function mesh(count: number) {
  const names = Array.from({ length: count }, (_, index) => node(`node-${index}`))
  const nodes = new Map(names.map((name) => [name, true]))
  let records = new Map<NodeId, NodeRecord>(names.map((name) => [name, recordOf(name)]))
  let nowMs = 0
  const dead = new Set<NodeId>()
  const underWay = new Map<NodeId, Probe[]>()
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
    tick(): void {
      for (const self of living()) {
        feed(self, { kind: 'view', view: viewOf(self), nowMs, wallMs: 0 })
        const asked = underWay.get(self) ?? []
        underWay.set(self, asked)
        asked.push(...feed(self, { kind: 'tick', nowMs, wallMs: 0 }).probe)
        // Whoever does not answer is asked again at once.
        for (let atMs = nowMs; asked.length > 0 && atMs < nowMs + tickMs; atMs += patienceMs) {
          for (const probe of asked.splice(0)) {
            const isDead = dead.has(probe.target)
            const result = isDead ? ({ kind: 'silent' } as const) : ({ kind: 'answered' } as const)
            const at = { sentAtMs: atMs, nowMs: atMs + (isDead ? patienceMs : 1), wallMs: 0 }
            const input = { kind: 'probe-result', ...probe, result, ...at } as const
            asked.push(...feed(self, { ...input, timeoutMs: patienceMs }).probe)
          }
        }
      }
      nowMs += tickMs
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
      for (let ticks = 0; ticks < 5; ticks++) all.tick()
      all.kill((index) => (index * 7919) % count < count / dies)
      expect(all.errors().missed).toBeGreaterThan(0)
      let condemned = 0
      for (let passedMs = 0; passedMs < withinSeconds * 1_000; passedMs += tickMs) {
        all.tick()
        condemned += all.errors().condemned
      }
      expect(condemned).toBe(0)
      expect(all.errors().missed).toBe(0)
    },
  )
})
