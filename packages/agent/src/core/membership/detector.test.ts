import type { NodeId, NodeRecord } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { defaults } from '../../defaults.ts'
import {
  type DetectorInput,
  type DetectorState,
  type ProbeOutcome,
  startDetector,
  stepDetector,
} from './detector.ts'
import { about, node, recordOf, viewOf } from './testing.ts'

/** One detector with its virtual time; what it changes goes into its own record at once. */
function detector(self: string, start: readonly NodeRecord[]) {
  const records = new Map<NodeId, NodeRecord>(start.map((record) => [record.node, record]))
  let nowMs = 0
  let state: DetectorState = startDetector(viewOf(self, start), nowMs)
  const written: string[] = []

  function feed(input: DetectorInput): readonly NodeId[] {
    const { state: next, changes, probe } = stepDetector(state, input, defaults)
    state = next
    if (changes.size > 0) {
      const own = records.get(node(self)) ?? recordOf(self)
      const alerts = new Map(own.alerts)
      for (const [target, alert] of changes) {
        if (alert === undefined) alerts.delete(target)
        else alerts.set(target, alert)
        written.push(
          alert === undefined ? `-${target}` : `${target} ${alert.evidence} ${alert.epoch}.${alert.seq}`,
        )
      }
      records.set(node(self), { ...own, seq: own.seq + 1, alerts })
      look()
    }
    return probe
  }
  function look(): void {
    feed({ kind: 'view', view: viewOf(self, [...records.values()]), nowMs, wallMs: nowMs })
  }
  look()
  return {
    written,
    publish(record: NodeRecord): void {
      records.set(record.node, record)
      look()
    },
    /** One probe interval: a tick, and what the probes of the tick find one timeout later. */
    round(outcomes: Readonly<Record<string, ProbeOutcome>>, lateByMs = 0): readonly NodeId[] {
      nowMs += lateByMs
      const probe = feed({ kind: 'tick', nowMs, wallMs: nowMs })
      const sentAtMs = nowMs
      nowMs += defaults.probeIntervalMs
      for (const target of probe) {
        const outcome = outcomes[target] ?? 'answered'
        feed({ kind: 'probe-result', target, outcome, sentAtMs, nowMs, wallMs: nowMs })
      }
      return probe
    },
  }
}

const abc = (): NodeRecord[] => [recordOf('a'), recordOf('b', [], 5), recordOf('c')]

describe('detector', () => {
  it('alerts after so many consecutive silent probes, and not before', () => {
    const one = detector('a', abc())
    one.round({})
    one.round({ b: 'silent' })
    one.round({ b: 'silent' })
    one.round({})
    one.round({ b: 'silent' })
    one.round({ b: 'silent' })
    expect(one.written).toEqual([])
    one.round({ b: 'silent' })
    expect(one.written).toEqual(['b silent 1.5'])
  })

  it('a peer not heard since the start is not accused before the others had time to start', () => {
    const one = detector('a', abc())
    for (let round = 0; round < 5; round++) one.round({ b: 'silent', c: 'refused' })
    expect(one.written).toEqual([])
    one.round({ b: 'silent', c: 'refused' })
    // With c gone too there is nobody left who could vouch for b.
    expect(one.written).toEqual(['b silent 1.5', 'c refused 1.1', 'b judged 1.5'])
  })

  it('an agent that stood still distrusts its own suspicions and counts anew', () => {
    const one = detector('a', abc())
    one.round({})
    one.round({ b: 'silent' })
    one.round({ b: 'silent' })
    one.round({ b: 'silent' }, 10_000)
    expect(one.written).toEqual([])
    one.round({ b: 'silent' })
    one.round({ b: 'silent' })
    expect(one.written).toEqual(['b silent 1.5'])
  })

  it('a judged node counts again once it is reached and has published a newer record; its old one stays void', () => {
    const one = detector('a', abc())
    one.round({})
    one.publish(recordOf('c', [about('b', 'silent', 5)]))
    for (let round = 0; round < 3; round++) one.round({ b: 'silent' })
    expect(one.written).toEqual(['b silent 1.5', 'b judged 1.5'])
    one.round({})
    expect(one.written).toHaveLength(2)
    one.publish(recordOf('b', [], 6))
    expect(one.written.slice(2)).toEqual(['b returned 1.5'])
    for (let passedMs = 0; passedMs < defaults.returnedKeepMs; passedMs += defaults.probeIntervalMs)
      one.round({})
    one.round({})
    expect(one.written.slice(3)).toEqual(['-b'])
  })

  it('a newer record alone does not end an alert: it may have come by way of others', () => {
    const one = detector('a', abc())
    one.round({})
    for (let round = 0; round < 3; round++) one.round({ b: 'silent' })
    one.publish(recordOf('b', [], 6))
    one.round({ b: 'silent' })
    one.round({ b: 'silent' })
    // It takes as many silent probes as the first time to say it of the newer record.
    expect(one.written).toEqual(['b silent 1.5'])
    one.round({ b: 'silent' })
    expect(one.written).toEqual(['b silent 1.5', 'b silent 1.6'])
  })

  it('a broken link does not become gossip for ever: an alert follows its target ever more slowly', () => {
    const one = detector('a', abc())
    one.round({})
    for (let round = 0; round < 3; round++) one.round({ b: 'silent' })
    for (let seq = 6; seq < 66; seq++) {
      one.publish(recordOf('b', [], seq))
      for (let round = 0; round < 3; round++) one.round({ b: 'silent' })
    }
    expect(one.written.length).toBeLessThanOrEqual(8)
  })

  it('a host without its agent is called silent only after the grace', () => {
    const one = detector('a', abc())
    one.round({})
    for (let round = 0; round < 3; round++) one.round({ b: 'refused' })
    expect(one.written).toEqual(['b refused 1.5'])
    for (let passedMs = 0; passedMs < defaults.agentDownGraceMs; passedMs += 1_000)
      one.round({ b: 'refused' })
    expect(one.written.slice(1)).toEqual(['b silent 1.5'])
  })

  it('an agent that answers again needs no newer record: its claims held all along', () => {
    const one = detector('a', abc())
    one.round({})
    for (let round = 0; round < 3; round++) one.round({ b: 'refused' })
    one.round({})
    expect(one.written).toEqual(['b refused 1.5', '-b'])
  })

  it('a host that dies after its agent is silent then', () => {
    const one = detector('a', abc())
    one.round({})
    for (let round = 0; round < 3; round++) one.round({ b: 'refused' })
    for (let round = 0; round < 3; round++) one.round({ b: 'silent' })
    expect(one.written).toEqual(['b refused 1.5', 'b silent 1.5'])
  })

  it("an agent that has just started takes the others' verdict over instead of vouching for the dead", () => {
    const one = detector('a', [recordOf('a'), recordOf('b'), recordOf('c', [about('b', 'judged')])])
    expect(one.written).toEqual(['b judged 1.1'])
  })

  it('an agent that has heard the accused itself does not', () => {
    const one = detector('a', abc())
    one.round({})
    one.publish(recordOf('c', [about('b', 'judged', 5)]))
    expect(one.written).toEqual([])
  })

  it('a node that is accused publishes something, once for each alert about its newest record', () => {
    const one = detector('a', abc())
    one.publish(recordOf('c', [about('a', 'silent', 1)]))
    expect(one.written).toEqual(['a returned 1.1'])
    one.publish(recordOf('b', [about('a', 'silent', 1)]))
    expect(one.written).toHaveLength(1)
    one.publish(recordOf('b', [about('a', 'silent', 2)]))
    expect(one.written.slice(1)).toEqual(['a returned 1.2'])
  })

  it('alerts about former members are withdrawn, and these are probed no more', () => {
    const start = [recordOf('a', [about('b', 'silent')]), recordOf('b'), recordOf('c')]
    const state = startDetector(viewOf('a', start), 0)
    const view = viewOf('a', [recordOf('a', [about('b', 'silent')]), recordOf('c')])
    const step = stepDetector(state, { kind: 'view', view, nowMs: 0, wallMs: 0 }, defaults)
    expect([...step.changes]).toEqual([['b', undefined]])
    expect(step.state.targets).toEqual(['c'])
  })
})
