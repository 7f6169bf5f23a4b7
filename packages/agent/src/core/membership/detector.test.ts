import type { Alert, NodeId, NodeRecord } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { defaults } from '../../defaults.ts'
import { type DetectorInput, type DetectorState, type ProbeOutcome, startDetector } from './detector-state.ts'
import { missedUnsaid, stepDetector } from './detector.ts'
import { isDecided, type WitnessWord } from './island.ts'
import { about, node, recordOf, viewOf } from './testing.ts'

type Found = 'answered' | 'refused' | 'silent'

/** One detector with its virtual time; what it changes goes into its own record at once. */
function detector(self: string, start: readonly NodeRecord[], word: WitnessWord = 'answered') {
  const records = new Map<NodeId, NodeRecord>(start.map((record) => [record.node, record]))
  let nowMs = 0
  let nextTickMs = 0
  let outcomes: Readonly<Record<string, Found>> = {}
  let answers: { readonly atMs: number; readonly input: DetectorInput }[] = []
  let state: DetectorState = startDetector(viewOf(self, start), nowMs)
  const written: string[] = []

  function feed(input: DetectorInput): void {
    const { state: next, changes, probe, askWitness } = stepDetector(state, input, defaults)
    state = next
    if (askWitness) {
      const atMs = nowMs + (word === 'silent' ? defaults.witnessTimeoutMs : 1)
      answers.push({ atMs, input: { kind: 'witness', word, nowMs: atMs, wallMs: atMs } })
    }
    for (const { target, timeoutMs } of probe) {
      const kind = outcomes[target] ?? 'answered'
      const tookMs = kind === 'silent' ? timeoutMs : 1
      const result: ProbeOutcome = kind === 'answered' ? { kind, roundTripMs: tookMs } : { kind }
      const atMs = nowMs + tookMs
      const told = { kind: 'probe-result', target, timeoutMs, result, sentAtMs: nowMs } as const
      answers.push({ atMs, input: { ...told, nowMs: atMs, wallMs: atMs } })
    }
    if (changes.size === 0) return
    const own = records.get(node(self)) ?? recordOf(self)
    const alerts = new Map(own.alerts)
    for (const [target, alert] of changes) {
      if (alert === undefined) alerts.delete(target)
      else alerts.set(target, alert)
      written.push(
        alert === undefined ? `-${target}` : `${target} ${wordOf(alert)} ${alert.epoch}.${alert.seq}`,
      )
    }
    records.set(node(self), { ...own, seq: own.seq + 1, alerts })
    look()
  }
  function look(): void {
    feed({ kind: 'view', view: viewOf(self, [...records.values()]), nowMs, wallMs: nowMs })
  }
  look()
  return {
    written,
    solitude: () => state.solitude,
    missedUnsaid: () => missedUnsaid(state, defaults),
    nowMs: () => nowMs,
    records: () => [...records.values()],
    remove(name: string): void {
      records.delete(node(name))
      look()
    },
    publish(record: NodeRecord): void {
      records.set(record.node, record)
      look()
    },
    /** So much time passes, in which probes that are sent find this. */
    pass(ms: number, found: Readonly<Record<string, Found>> = {}): void {
      outcomes = found
      const untilMs = nowMs + ms
      for (;;) {
        const next = answers.toSorted((a, b) => a.atMs - b.atMs)[0]
        const atMs = Math.min(next?.atMs ?? Infinity, nextTickMs)
        if (atMs >= untilMs) break
        nowMs = Math.max(nowMs, atMs)
        if (next?.atMs === atMs) {
          answers = answers.filter((answer) => answer !== next)
          feed({ ...next.input, nowMs })
        } else {
          nextTickMs = nowMs + defaults.probeIntervalMs
          feed({ kind: 'tick', nowMs, wallMs: nowMs })
        }
      }
      nowMs = untilMs
    },
    /** The process stands still for so long. */
    standStill(ms: number): void {
      nowMs += ms
    },
  }
}

const wordOf = ({ evidence, probation }: Alert): string =>
  evidence === 'returned' && probation === true ? 'probation' : evidence
const abc = (): NodeRecord[] => [recordOf('a'), recordOf('b', [], 5), recordOf('c')]
/** From an answer until the next probe has found nothing for long enough. */
const untilSuspectedMs = defaults.probeIntervalMs + defaults.suspectAfterProbes * defaults.probeTimeoutMinMs
const untilSilentMs = defaults.probeIntervalMs + defaults.silentAfterMs + defaults.probeTimeoutMinMs

function startedTargets(self: string, all: readonly NodeRecord[]): readonly string[] {
  const view = { kind: 'view', view: viewOf(self, all), nowMs: 0, wallMs: 0 } as const
  return stepDetector(startDetector(viewOf(self, all), 0), view, defaults).state.targets
}

describe('detector', () => {
  it('suspects after a few probes without an answer, and takes it back with the first', () => {
    const one = detector('a', abc())
    one.pass(100)
    one.pass(untilSuspectedMs - 150, { b: 'silent' })
    expect(one.written).toEqual([])
    one.pass(100, { b: 'silent' })
    expect(one.written).toEqual(['b suspected 1.5'])
    one.pass(500)
    expect(one.written.slice(1)).toEqual(['-b'])
  })

  it('knows whom it misses before it says so: what comes and goes is believed ever more slowly', () => {
    const one = detector('a', abc())
    one.pass(100)
    for (let turn = 0; turn < 4; turn++) {
      one.pass(untilSuspectedMs, { b: 'silent' })
      one.pass(500)
    }
    const before = one.written.length
    one.pass(untilSuspectedMs, { b: 'silent' })
    expect(one.written.length).toBe(before)
    expect(one.missedUnsaid()).toEqual(['b'])
    one.pass(500)
    expect(one.missedUnsaid()).toEqual([])
    const other = detector('a', abc())
    other.pass(100)
    other.pass(untilSuspectedMs, { b: 'silent' })
    expect([other.written, other.missedUnsaid()]).toEqual([['b suspected 1.5'], []])
  })

  it('calls silent what it has not heard for long enough, and not before', () => {
    const one = detector('a', abc())
    one.pass(100)
    one.pass(defaults.silentAfterMs, { b: 'silent' })
    expect(one.written).toEqual(['b suspected 1.5'])
    one.pass(untilSilentMs - defaults.silentAfterMs, { b: 'silent' })
    expect(one.written.slice(1)).toEqual(['b silent 1.5'])
  })

  describe('where another observer has waited in full', () => {
    const soonerMs = untilSilentMs - defaults.probeIntervalMs
    const says = (name: string, seq: number): NodeRecord => recordOf(name, [about('b', 'silent', seq)])

    it('calls silent what it has not heard for an interval less', () => {
      const one = detector('a', abc())
      one.pass(100)
      one.pass(soonerMs - 2 * defaults.probeTimeoutMinMs, { b: 'silent' })
      one.publish(says('c', 5))
      expect(one.written).toEqual(['b suspected 1.5'])
      one.pass(2 * defaults.probeTimeoutMinMs, { b: 'silent' })
      expect(one.written.slice(1)).toEqual(['b silent 1.5', 'b judged 1.5'])
    })

    it('does so at once, without a probe', () => {
      const one = detector('a', abc())
      one.pass(100)
      one.pass(soonerMs, { b: 'silent' })
      expect(one.written).toEqual(['b suspected 1.5'])
      one.publish(says('c', 5))
      expect(one.written.slice(1)).toEqual(['b silent 1.5', 'b judged 1.5'])
    })

    it('and not for the word of who is in doubt itself, or for one about an older record', () => {
      const one = detector('a', abc())
      one.pass(100)
      one.pass(soonerMs, { b: 'silent', c: 'silent' })
      one.publish(says('c', 5))
      expect(one.written).not.toContain('b silent 1.5')

      const other = detector('a', abc())
      other.pass(100)
      other.pass(soonerMs, { b: 'silent' })
      other.publish(says('c', 4))
      expect(other.written).toEqual(['b suspected 1.5'])
    })
  })

  it('one answer in between, and it counts anew', () => {
    const one = detector('a', abc())
    one.pass(100)
    for (let time = 0; time < 10; time++) {
      one.pass(900, { b: 'silent' })
      one.pass(300)
    }
    expect(one.written).not.toContain('b silent 1.5')
  })

  it('waits for a slow link as long as its round trips take', () => {
    const state = startDetector(viewOf('a', abc()), 0)
    const view = { kind: 'view', view: viewOf('a', abc()), nowMs: 0, wallMs: 0 } as const
    let step = stepDetector(state, view, defaults)
    const timeouts: (number | undefined)[] = []
    for (let nowMs = 0; nowMs < 8_000; nowMs += defaults.probeIntervalMs) {
      step = stepDetector(step.state, { kind: 'tick', nowMs, wallMs: 0 }, defaults)
      const asked = step.probe.find(({ target }) => target === 'b')
      timeouts.push(asked?.timeoutMs)
      if (asked === undefined) continue
      const result = { kind: 'answered', roundTripMs: 300 } as const
      const at = { sentAtMs: nowMs, nowMs: nowMs + 300, wallMs: 0 }
      step = stepDetector(step.state, { kind: 'probe-result', ...asked, result, ...at }, defaults)
    }
    expect(timeouts[0]).toBe(defaults.probeTimeoutMinMs)
    expect(timeouts[1]).toBe(900)
    expect(timeouts.at(-1)).toBeGreaterThan(300)
    expect(timeouts.at(-1)).toBeLessThan(330)
  })

  it('waits ever longer for one of whom nothing is known yet', () => {
    const view = { kind: 'view', view: viewOf('a', abc()), nowMs: 0, wallMs: 0 } as const
    let step = stepDetector(startDetector(view.view, 0), view, defaults)
    const timeouts: number[] = []
    for (let nowMs = 0; timeouts.length < 5; nowMs += 1_000) {
      step = stepDetector(
        step.state,
        { kind: 'tick', nowMs, wallMs: 0 },
        { ...defaults, probeIntervalMs: 1_000 },
      )
      const asked = step.probe.find(({ target }) => target === 'b')!
      timeouts.push(asked.timeoutMs)
      const at = { sentAtMs: nowMs, nowMs: nowMs + asked.timeoutMs - 1, wallMs: 0 }
      const result = { kind: 'silent' } as const
      step = stepDetector(step.state, { kind: 'probe-result', ...asked, result, ...at }, defaults)
      for (const again of step.probe.filter(({ target }) => target === 'b')) {
        const next = { ...again, result, ...at, sentAtMs: at.nowMs }
        step = stepDetector(step.state, { kind: 'probe-result', ...next }, defaults)
        timeouts.push(again.timeoutMs)
      }
    }
    expect(timeouts.slice(0, 5)).toEqual([200, 400, 800, 1_000, 1_000])
  })

  it('asks nobody twice at a time, and goes on asking where a probe failed in itself', () => {
    let step = stepDetector(
      startDetector(viewOf('a', abc()), 0),
      { kind: 'view', view: viewOf('a', abc()), nowMs: 0, wallMs: 0 },
      defaults,
    )
    const tick = (nowMs: number) => {
      step = stepDetector(step.state, { kind: 'tick', nowMs, wallMs: 0 }, defaults)
      return step.probe
    }
    const asked = tick(0)
    expect(asked.map(({ target }) => target)).toEqual(['b', 'c'])
    expect(tick(400)).toEqual([])
    const unasked = { kind: 'probe-result', ...asked[0]!, result: { kind: 'unasked' }, sentAtMs: 0 } as const
    step = stepDetector(step.state, { ...unasked, nowMs: 500, wallMs: 0 }, defaults)
    expect(tick(800).map(({ target }) => target)).toEqual(['b'])
  })

  it('asks a node again that was watched by others while its answer was on its way', () => {
    const [few, many] = [
      ['a', 'b', 'c'],
      ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'],
    ].map((names) => names.map((name) => recordOf(name))) as [NodeRecord[], NodeRecord[]]
    let step = stepDetector(
      startDetector(viewOf('a', few), 0),
      { kind: 'view', view: viewOf('a', few), nowMs: 0, wallMs: 0 },
      defaults,
    )
    const next = (input: DetectorInput) => (step = stepDetector(step.state, input, defaults))
    const asked = next({ kind: 'tick', nowMs: 0, wallMs: 0 }).probe
    next({ kind: 'view', view: viewOf('a', many), nowMs: 1, wallMs: 0 })
    const dropped = asked.find(({ target }) => !step.state.targets.includes(target))!
    const result = { kind: 'answered', roundTripMs: 2 } as const
    next({ kind: 'probe-result', ...dropped, result, sentAtMs: 0, nowMs: 2, wallMs: 0 })
    next({ kind: 'view', view: viewOf('a', few), nowMs: 3, wallMs: 0 })
    const again = next({ kind: 'tick', nowMs: 400, wallMs: 0 }).probe
    expect(again.map(({ target }) => target)).toContain(dropped.target)
  })

  it('takes twice as long where most others are silent at once: it may be deaf itself', () => {
    const all = ['a', 'b', 'c', 'd', 'e'].map((name) => recordOf(name))
    const gone = { b: 'silent', c: 'silent', d: 'silent' } as const
    const one = detector('a', all)
    one.pass(100)
    one.pass(untilSilentMs + 500, gone)
    expect(one.written).toEqual(['b suspected 1.1', 'c suspected 1.1', 'd suspected 1.1'])
    one.pass(defaults.silentAfterMs, gone)
    expect(one.written.slice(3)).toContain('b silent 1.1')
  })

  it('is no deafer for those of whom another that it hears has heard nothing for long enough', () => {
    const all = ['a', 'b', 'c', 'd', 'e'].map((name) => recordOf(name))
    const gone = { b: 'silent', c: 'silent', d: 'silent' } as const
    const written = (by: string): readonly string[] => {
      const one = detector('a', all)
      one.pass(100)
      one.pass(untilSilentMs / 2, gone)
      one.publish(recordOf(by, [about('b', 'silent'), about('c', 'silent')]))
      one.pass(untilSilentMs / 2 + 500, gone)
      return one.written
    }
    expect(written('e')).toEqual(expect.arrayContaining(['b silent 1.1', 'c silent 1.1', 'd silent 1.1']))
    // Its word is worth nothing where this node does not hear it either.
    expect(written('d').filter((word) => word.includes(' silent'))).toEqual([])
  })

  it('is no deafer for those that have been dead for long, nor for those whose hosts refuse', () => {
    const all = ['a', 'b', 'c', 'd'].map((name) => recordOf(name))
    const one = detector('a', all)
    one.publish(recordOf('c', [about('b', 'silent')]))
    one.publish(recordOf('d', [about('b', 'silent')]))
    one.pass(100)
    one.pass(60_000, { b: 'silent' })
    expect(one.written).toContain('b judged 1.1')
    one.pass(untilSilentMs, { b: 'silent', d: 'silent' })
    expect(one.written).toContain('d silent 1.1')
    const other = detector('a', all)
    other.pass(100)
    other.pass(untilSilentMs, { b: 'refused', d: 'silent' })
    expect(other.written).toContain('d silent 1.1')
  })

  it('what was missed while it was watched before is forgotten', () => {
    const [few, many] = [
      ['a', 'b', 'c', 'd', 'e', 'f'],
      ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l'],
    ].map((names) => names.map((name) => recordOf(name))) as [NodeRecord[], NodeRecord[]]
    const dropped = startedTargets('a', few).find((name) => !startedTargets('a', many).includes(name))!
    const one = detector('a', few)
    one.pass(100)
    one.pass(untilSuspectedMs - 150, { [dropped]: 'silent' })
    for (const record of many.slice(few.length)) one.publish(record)
    one.pass(3_600_000)
    for (const record of many.slice(few.length)) one.remove(record.node)
    one.pass(untilSuspectedMs - 300, { [dropped]: 'silent' })
    expect(one.written).toEqual([])
  })

  it('accuses nobody while it is cut off, and only suspects', () => {
    const gone = { b: 'silent', c: 'silent' } as const
    const one = detector('a', abc(), 'silent')
    one.pass(100)
    one.pass(60_000, gone)
    expect(one.written.toSorted()).toEqual(['b suspected 1.5', 'c suspected 1.1'])
    one.pass(1_000)
    expect(one.written.slice(2).toSorted()).toEqual(['-b', '-c'])
    one.pass(2 * untilSilentMs, { b: 'silent' })
    expect(one.written.slice(4)).toEqual(['b suspected 1.5', 'b silent 1.5'])
  })

  it('back from being cut off, accuses those who have not answered yet no sooner than anybody', () => {
    const one = detector('a', abc(), 'silent')
    one.pass(100)
    one.pass(60_000, { b: 'silent', c: 'silent' })
    one.pass(1_000, { c: 'silent' })
    expect(one.written.filter((line) => line.includes(' silent '))).toEqual([])
    one.pass(untilSilentMs, { c: 'silent' })
    expect(one.written).toContain('c silent 1.1')
  })

  it('its own being cut off is no trouble of those on probation', () => {
    const one = detector('a', abc(), 'silent')
    one.pass(100)
    one.pass(untilSilentMs + defaults.probationAfterMs, { b: 'silent' })
    one.publish(recordOf('b', [], 6))
    one.pass(1_000)
    expect(one.written.at(-1)).toBe('b probation 1.5')
    one.pass(defaults.returnedKeepMs / 2, { b: 'silent', c: 'silent' })
    one.pass(defaults.returnedKeepMs / 2)
    expect(one.written.at(-1)).toBe('-b')
  })

  it('of three whose gateway never answers, the last survivor takes over: who was given up before says nothing', () => {
    const one = detector('a', abc(), 'unknown')
    one.pass(100)
    one.publish(recordOf('c', [about('b', 'silent', 5)], 2))
    one.pass(2 * untilSilentMs, { b: 'silent' })
    expect(one.written).toContain('b judged 1.5')
    one.pass(2 * untilSilentMs, { b: 'silent', c: 'silent' })
    expect(one.written).toContain('c silent 1.2')
  })

  it('of three whose gateway never answers, one that misses both at once takes itself for cut off', () => {
    const one = detector('a', abc(), 'unknown')
    one.pass(100)
    one.pass(60_000, { b: 'silent', c: 'silent' })
    expect(one.written.toSorted()).toEqual(['b suspected 1.5', 'c suspected 1.1'])
  })

  it('stays cut off while it begins to watch somebody else, who has not been asked yet', () => {
    const gone = { b: 'silent', c: 'silent', d: 'silent' } as const
    const one = detector('a', abc(), 'silent')
    one.pass(100)
    one.pass(2 * untilSilentMs, gone)
    one.publish(recordOf('d'))
    one.pass(100, gone)
    expect(one.solitude().kind).toBe('alone')
    one.pass(2 * untilSilentMs, gone)
    expect(one.written.filter((line) => line.includes(' silent '))).toEqual([])
  })

  it('has heard from all whom it asked, also where it watches one of them by now', () => {
    const few = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => recordOf(name))
    const watched = startedTargets('a', few)
    const others = few.map((record) => record.node).filter((name) => name !== 'a' && !watched.includes(name))
    const gone = Object.fromEntries(few.map((record) => [record.node, 'silent'] as const))
    const one = detector('a', few, 'silent')
    one.pass(100)
    for (let ms = 0; one.solitude().kind === 'company' && ms < 5_000; ms += 10) one.pass(10, gone)
    for (const name of watched) one.remove(name)
    expect(startedTargets('a', one.records())).toEqual(expect.arrayContaining(others))
    one.pass(defaults.probeTimeoutMaxMs, gone)
    expect(isDecided(one.solitude())).toBe(true)
  })

  it('accuses all whom it watches where a member answers whom it does not watch', () => {
    const all = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => recordOf(name))
    const watched = startedTargets('a', all)
    const one = detector('a', all, 'silent')
    one.pass(100)
    one.pass(2 * untilSilentMs, Object.fromEntries(watched.map((name) => [name, 'silent'])))
    for (const name of watched) expect(one.written).toContain(`${name} silent 1.1`)
  })

  it('a peer not heard since the start is not accused before the others had time to start', () => {
    const one = detector('a', abc())
    one.pass(defaults.bootSyncTimeoutMs, { b: 'silent', c: 'refused' })
    expect(one.written).toEqual([])
    one.pass(defaults.probeTimeoutMaxMs, { b: 'silent', c: 'refused' })
    // With c gone too there is nobody left who could vouch for b.
    expect(one.written.toSorted()).toEqual(['b judged 1.5', 'b silent 1.5', 'c refused 1.1'])
  })

  it('an agent that stood still distrusts its own suspicions and counts anew', () => {
    const one = detector('a', abc())
    one.pass(100)
    one.pass(untilSuspectedMs - 150, { b: 'silent' })
    one.standStill(10_000)
    one.pass(untilSuspectedMs - 450, { b: 'silent' })
    expect(one.written).toEqual([])
    one.pass(untilSilentMs, { b: 'silent' })
    expect(one.written).toEqual(['b suspected 1.5', 'b silent 1.5'])
  })

  it('a judged node counts again once it is reached and has published a newer record; its old one stays void', () => {
    const one = detector('a', abc())
    one.pass(100)
    one.publish(recordOf('c', [about('b', 'silent', 5)]))
    one.pass(untilSilentMs, { b: 'silent' })
    expect(one.written).toEqual(['b suspected 1.5', 'b silent 1.5', 'b judged 1.5'])
    one.pass(500)
    expect(one.written).toHaveLength(3)
    one.publish(recordOf('b', [], 6))
    expect(one.written.slice(3)).toEqual(['b returned 1.5'])
    one.pass(defaults.returnedKeepMs + 500)
    expect(one.written.slice(4)).toEqual(['-b'])
  })

  it('a newer record alone does not end an alert: it may have come by way of others', () => {
    const one = detector('a', abc())
    one.pass(100)
    one.pass(untilSilentMs, { b: 'silent' })
    one.publish(recordOf('b', [], 6))
    one.pass(defaults.silentAfterMs, { b: 'silent' })
    // It takes as long as the first time to say it of the newer record.
    expect(one.written).toEqual(['b suspected 1.5', 'b silent 1.5'])
    one.pass(500, { b: 'silent' })
    expect(one.written.slice(2)).toEqual(['b silent 1.6'])
  })

  it('a broken link does not become gossip for ever: an alert follows its target ever more slowly', () => {
    const one = detector('a', abc())
    one.pass(100)
    one.pass(untilSilentMs, { b: 'silent' })
    for (let seq = 6; seq < 66; seq++) {
      one.publish(recordOf('b', [], seq))
      one.pass(untilSilentMs, { b: 'silent' })
    }
    expect(one.written.length).toBeLessThanOrEqual(9)
  })

  it('who was away for long is on probation, and off it after a time without trouble', () => {
    const one = detector('a', abc())
    one.pass(100)
    one.pass(untilSilentMs + defaults.probationAfterMs, { b: 'silent' })
    one.publish(recordOf('b', [], 6))
    one.pass(500)
    expect(one.written.slice(2)).toEqual(['b probation 1.5'])
    one.pass(defaults.returnedKeepMs - 1_000)
    one.pass(untilSuspectedMs, { b: 'silent' })
    one.pass(defaults.returnedKeepMs - 1_000)
    expect(one.written.slice(3)).toEqual(['b suspected 1.6', 'b probation 1.5'])
    one.pass(1_500)
    expect(one.written.slice(5)).toEqual(['-b'])
  })

  it('who was away for a moment is taken back at once, and is on probation the second time', () => {
    const one = detector('a', abc())
    one.pass(100)
    one.pass(untilSilentMs + 500, { b: 'silent' })
    one.publish(recordOf('b', [], 6))
    one.pass(500)
    one.pass(2 * untilSilentMs, { b: 'silent' })
    one.publish(recordOf('b', [], 7))
    one.pass(500)
    expect(one.written.filter((line) => !line.includes('suspected'))).toEqual([
      'b silent 1.5',
      'b returned 1.5',
      'b silent 1.6',
      'b probation 1.6',
    ])
    // Twice as long as the first time.
    one.pass(2 * defaults.returnedKeepMs - 1_000)
    expect(one.written.at(-1)).toBe('b probation 1.6')
    one.pass(1_500)
    expect(one.written.at(-1)).toBe('-b')
  })

  it('a link that comes and goes does not become gossip for ever, whatever its period', () => {
    for (const offMs of [700, 1_300, 3_000, 20_000]) {
      const one = detector('a', abc())
      one.pass(100)
      const hourly: number[] = []
      for (let seq = 6; one.nowMs() < 7_200_000; seq++) {
        one.pass(offMs, { b: 'silent' })
        one.publish(recordOf('b', [], seq))
        one.pass(offMs)
        hourly[Math.floor(one.nowMs() / 3_600_000)] = one.written.length
      }
      const inTheSecondHour = hourly[1]! - hourly[0]!
      expect(inTheSecondHour).toBeLessThanOrEqual(4 * 60)
    }
  })

  it('a link that loses much is given up only after a much longer silence', () => {
    const one = detector('a', abc())
    one.pass(100)
    for (let time = 0; time < 10; time++) {
      one.pass(900, { b: 'silent' })
      one.pass(100)
    }
    one.pass(defaults.lossyPatience * defaults.silentAfterMs - 500, { b: 'silent' })
    expect(one.written.filter((line) => line.includes(' silent '))).toEqual([])
    one.pass(1_000, { b: 'silent' })
    expect(one.written.at(-1)).toBe('b silent 1.5')
  })

  it('one on probation is given up only after a much longer silence, until its probation is over', () => {
    const one = detector('a', abc())
    one.pass(100)
    one.pass(untilSilentMs + defaults.probationAfterMs, { b: 'silent' })
    one.publish(recordOf('b', [], 6))
    one.pass(1_000)
    expect(one.written.at(-1)).toBe('b probation 1.5')
    for (let flip = 0; flip < 5; flip++) {
      one.pass(20_000, { b: 'silent' })
      expect(one.written.at(-1)).toBe('b suspected 1.6')
      one.pass(20_000)
      expect(one.written.at(-1)).toBe('b probation 1.5')
    }
    one.pass(defaults.returnedKeepMs / 2 - 1_000, { b: 'silent' })
    expect(one.written.at(-1)).toBe('b suspected 1.6')
    one.pass(2_000, { b: 'silent' })
    expect(one.written.at(-1)).toBe('b silent 1.6')
    one.publish(recordOf('b', [], 7))
    one.pass(2 * defaults.returnedKeepMs + 1_000)
    expect(one.written.at(-1)).toBe('-b')
    one.pass(untilSilentMs, { b: 'silent' })
    expect(one.written.at(-1)).toBe('b silent 1.7')
  })

  it('one that has started again, or went together with others, is missed as soon as any other', () => {
    const away = untilSilentMs + defaults.probationAfterMs
    const rebooted = detector('a', abc())
    rebooted.pass(100)
    rebooted.pass(away, { b: 'silent' })
    rebooted.publish(recordOf('b', [], 1, 2))
    rebooted.pass(1_000)
    expect(rebooted.written.at(-1)).toBe('b probation 1.5')
    rebooted.pass(untilSilentMs, { b: 'silent' })
    expect(rebooted.written.at(-1)).toBe('b silent 2.1')

    const parted = detector('a', [...abc(), recordOf('d'), recordOf('e')])
    parted.pass(100)
    parted.pass(away, { b: 'silent', c: 'silent' })
    parted.publish(recordOf('b', [], 6))
    parted.publish(recordOf('c', [], 6))
    parted.pass(1_000)
    expect(parted.written.slice(-2).toSorted()).toEqual(['b probation 1.5', 'c probation 1.1'])
    parted.pass(untilSilentMs, { b: 'silent' })
    expect(parted.written.at(-1)).toBe('b silent 1.6')
  })

  it('an agent that comes and goes is refused until it has answered for a while', () => {
    const one = detector('a', abc())
    one.pass(100)
    for (let time = 0; time < 200; time++) {
      one.pass(1_500, { b: 'refused' })
      one.pass(1_500)
    }
    expect(one.written.length).toBeLessThan(20)
    one.pass(defaults.flapPauseMaxMs + 1_000)
    expect(one.written.at(-1)).toBe('-b')
  })

  it('a host without its agent is called silent only after the grace', () => {
    const one = detector('a', abc())
    one.pass(100)
    one.pass(defaults.agentDownGraceMs, { b: 'refused' })
    expect(one.written).toEqual(['b refused 1.5'])
    one.pass(2_000, { b: 'refused' })
    expect(one.written.slice(1)).toEqual(['b silent 1.5'])
  })

  it('an agent that answers again needs no newer record: its claims held all along', () => {
    const one = detector('a', abc())
    one.pass(100)
    one.pass(1_500, { b: 'refused' })
    one.pass(500)
    expect(one.written).toEqual(['b refused 1.5', '-b'])
  })

  it('a host that dies after its agent is silent then', () => {
    const one = detector('a', abc())
    one.pass(100)
    one.pass(1_500, { b: 'refused' })
    one.pass(untilSilentMs, { b: 'silent' })
    expect(one.written).toEqual(['b refused 1.5', 'b silent 1.5'])
  })

  it("an agent that has just started takes the others' verdict over instead of vouching for the dead", () => {
    const one = detector('a', [recordOf('a'), recordOf('b'), recordOf('c', [about('b', 'judged')])])
    expect(one.written).toEqual(['b judged 1.1'])
  })

  it('an agent that has heard the accused itself does not', () => {
    const one = detector('a', abc())
    one.pass(100)
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
