import type { Alert, NodeRecord } from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { livenessOf } from './liveness.ts'
import { observersOf, targetsOf } from './rings.ts'
import { about, node, recordOf, viewOf } from './testing.ts'

const letters = (text: string): string[] => text.split('')

const kinds = (self: string, records: readonly NodeRecord[]): Record<string, string> =>
  Object.fromEntries([...livenessOf(viewOf(self, records))].map(([id, { kind }]) => [id, kind]))

/** Nodes a, b, c … of which each says the alerts given for it. */
function cluster(names: string, alerts: Readonly<Record<string, readonly Alert[]>>, seq = 1): NodeRecord[] {
  return letters(names).map((name) => recordOf(name, alerts[name] ?? [], seq))
}

describe('liveness', () => {
  it('a member without a record is unknown, one without an alert is alive', () => {
    expect(livenessOf(viewOf('a', [recordOf('a')], ['b']))).toEqual(
      new Map([
        ['b', { kind: 'unknown' }],
        ['a', { kind: 'alive' }],
      ]),
    )
  })

  it('of two nodes the one observer decides', () => {
    expect(kinds('a', cluster('ab', { a: [about('b', 'silent')] }))).toEqual({ a: 'alive', b: 'down' })
  })

  it('one observer of four makes a suspect, two still do, three are enough', () => {
    const says = (who: string) =>
      Object.fromEntries(letters(who).map((name) => [name, [about('e', 'silent')]]))
    expect(kinds('a', cluster('abcde', says('b')))['e']).toBe('suspect')
    expect(kinds('a', cluster('abcde', says('bc')))['e']).toBe('suspect')
    expect(kinds('a', cluster('abcde', says('bcd')))['e']).toBe('down')
  })

  it('of itself a node believes that others suspect it, so that it gives itself nothing that they do not', () => {
    const records = cluster('abcde', { b: [about('e', 'suspected')], c: [about('e', 'silent')] })
    for (const self of letters('abcde')) expect(kinds(self, records)['e']).toBe('suspect')
  })

  it('is not down by the word of one while others hear it whose turn it is, as its observers are dead', () => {
    const names = letters('abcdefghijklmnop')
    const watchers = observersOf(node('e'), names.map(node), 4)
    const [accuser, ...dead] = watchers
    const alive = names.filter((name) => name !== 'e' && !dead.includes(node(name)))
    const says = Object.fromEntries(
      alive.map((name) => [
        name,
        [...dead.map((id) => about(id, 'silent')), ...(name === accuser ? [about('e', 'silent')] : [])],
      ]),
    )
    const others = alive.filter((name) => name !== accuser)
    for (const self of alive) {
      const seen = kinds(self, cluster(names.join(''), says))
      expect(dead.map((id) => seen[id])).toEqual(['down', 'down', 'down'])
      expect(seen['e']).toBe('suspect')
    }
    // As soon as another one doubts it too, it is.
    says[others[0]!]!.push(about('e', 'suspected'))
    expect(kinds(others[1]!, cluster(names.join(''), says))['e']).toBe('down')
  })

  it('is down by the word of one where nobody else is left to be asked', () => {
    const names = letters('abcdefghijklmnopqrst')
    const says = (self: string) => targetsOf(node(self), names.map(node), 4).map((id) => about(id, 'silent'))
    // Two of twenty are left, one of whom watches the other.
    const left = names.flatMap((name) =>
      targetsOf(node(name), names.map(node), 4).map((id) => [name, id] as const),
    )
    const [a, b] = left.find(
      ([, id]) => !targetsOf(id, names.map(node), 4).some((one) => one === left[0]![0]),
    )!
    const records = cluster(names.join(''), {
      [a]: says(a).filter(({ target }) => target !== b),
      [b]: says(b).filter(({ target }) => target !== a),
    })
    const seen = kinds(a, records)
    const missed = records
      .find((record) => record.node === a)!
      .alerts.keys()
      .toArray()
    expect(missed.map((id) => seen[id])).toEqual(['down', 'down', 'down'])
  })

  const probation: Alert = { ...about('e', 'returned', 1), probation: true }

  it('is on probation by the word of as many as vouch without it, and knows it itself', () => {
    const says = (who: string, seq: number) =>
      cluster('abcde', Object.fromEntries(letters(who).map((name) => [name, [probation]])), seq)
    const seen = (self: string, who: string) => livenessOf(viewOf(self, says(who, 2))).get(node('e'))
    for (const self of ['a', 'd', 'e']) {
      expect(seen(self, 'a')).toEqual({ kind: 'alive' })
      expect(seen(self, 'ab')).toEqual({ kind: 'alive', isOnProbation: true })
      expect(seen(self, 'abcd')).toEqual({ kind: 'alive', isOnProbation: true })
    }
    // Only records newer than the one from before its return count.
    expect(livenessOf(viewOf('a', says('abcd', 1))).get(node('e'))?.kind).toBe('down')
  })

  it('on probation is suspected like any other', () => {
    const doubts = {
      a: [probation],
      b: [probation],
      c: [about('e', 'silent', 2)],
    }
    expect(livenessOf(viewOf('a', cluster('abcde', doubts, 2))).get(node('e'))).toEqual({
      kind: 'suspect',
      observers: ['c'],
      isHeard: true,
      isOnProbation: true,
    })
  })

  it('says of one in doubt whether at least as many hear it as do not', () => {
    const kindOf = (...doubts: readonly ('suspected' | 'silent')[]) => {
      const alerts = doubts.map((evidence, at) => [letters('abcd')[at]!, [about('e', evidence)]] as const)
      return livenessOf(viewOf('a', cluster('abcde', Object.fromEntries(alerts), 4))).get(node('e'))
    }
    expect(kindOf('suspected', 'silent')).toMatchObject({ kind: 'suspect', isHeard: true })
    expect(kindOf('suspected', 'suspected', 'silent')).not.toHaveProperty('isHeard')
    expect(kindOf('suspected', 'suspected', 'silent', 'silent')).not.toHaveProperty('isHeard')
  })

  it('whom nobody trusted hears vouches for nobody, though it says who came and went', () => {
    const doubts = letters('bcde').map((name) => about(name, 'suspected', 2))
    const marked = cluster('abcde', { a: doubts, b: [probation], c: [probation] }, 2)
    const found = livenessOf(viewOf('a', marked)).get(node('e'))
    expect(found).toMatchObject({ kind: 'suspect', observers: ['a'] })
    expect(found).not.toHaveProperty('isHeard')
  })

  it('when four of five die at once, the missing alerts of the dead block nothing', () => {
    const alerts = { a: letters('bcde').map((name) => about(name, 'silent')) }
    expect(kinds('a', cluster('abcde', alerts))).toEqual({
      a: 'alive',
      b: 'down',
      c: 'down',
      d: 'down',
      e: 'down',
    })
  })

  it('each side of a partition sees the other down, whatever old records of the other side say', () => {
    const ab = letters('cde').map((name) => about(name, 'silent'))
    const left = cluster('abcde', { a: ab, b: ab })
    for (const self of ['a', 'b']) {
      expect(kinds(self, left)).toEqual({ a: 'alive', b: 'alive', c: 'down', d: 'down', e: 'down' })
    }
    const cde = letters('ab').map((name) => about(name, 'silent'))
    const right = cluster('abcde', { c: cde, d: cde, e: cde })
    for (const self of ['c', 'd', 'e']) {
      expect(kinds(self, right)).toEqual({ a: 'down', b: 'down', c: 'alive', d: 'alive', e: 'alive' })
    }
  })

  it('while a partition heals, alerts that the other side has yet to withdraw condemn nobody', () => {
    // a and b have withdrawn already; c, d and e have not, and name records older than the ones in the view.
    const cde = letters('ab').map((name) => about(name, 'judged', 1))
    const ab = letters('cde').map((name) => about(name, 'returned', 1))
    const records = cluster('abcde', { a: ab, b: ab, c: cde, d: cde, e: cde }, 2)
    expect(kinds('a', records)).toEqual({ a: 'suspect', b: 'suspect', c: 'alive', d: 'alive', e: 'alive' })
  })

  it('a returned node counts against one from the other side that accuses it, also where it is watched only because others fell', () => {
    const names = letters('abcdefghi')
    const [back, away] = names.filter(
      (name) => name !== 'a' && !targetsOf(node('a'), names.map(node), 4).includes(node(name)),
    )
    const dead = names.filter((name) => name !== 'a' && name !== back && name !== away)
    const records = [
      recordOf('a', [...dead.map((name) => about(name, 'judged')), about(back!, 'returned')]),
      recordOf(back!, [...dead.map((name) => about(name, 'judged')), about(away!, 'silent')], 2),
      recordOf(away!, [about(back!, 'judged')]),
      ...dead.map((name) => recordOf(name)),
    ]
    expect(kinds('a', records)).toMatchObject({ [back!]: 'alive', [away!]: 'suspect' })
  })

  it('says of one that is down whether it has published since, as far as its accusers know', () => {
    const seenBy = (seq: number) =>
      livenessOf(viewOf('a', [recordOf('a', [about('b', 'silent')]), recordOf('b', [], seq)])).get(node('b'))
    expect(seenBy(1)).toEqual({ kind: 'down', observers: ['a'] })
    expect(seenBy(2)).toEqual({ kind: 'down', observers: ['a'], isStale: true })
  })

  it('refused evidence says that the host lives: the agent is down, not the node', () => {
    const says = Object.fromEntries(letters('abcd').map((name) => [name, [about('e', 'refused')]]))
    expect(kinds('a', cluster('abcde', says))['e']).toBe('agent-down')
  })

  it('one refused observer outweighs one silent one', () => {
    const says = { a: [about('c', 'refused')], b: [about('c', 'silent')] }
    expect(kinds('a', cluster('abc', says))['c']).toBe('agent-down')
  })

  it("a dead node's last alerts about the living do not count", () => {
    const others = letters('bcde').map((name) => about(name, 'silent'))
    const records = cluster('abcde', {
      a: others,
      ...Object.fromEntries(letters('bcde').map((name) => [name, [about('a', 'judged')]])),
    })
    expect(kinds('b', records)).toEqual({ a: 'down', b: 'alive', c: 'alive', d: 'alive', e: 'alive' })
  })

  it('a node that returned counts only with a record newer than the verdict', () => {
    const says = Object.fromEntries(letters('abcd').map((name) => [name, [about('e', 'returned', 7)]]))
    const others = cluster('abcd', says)
    expect(kinds('a', [...others, recordOf('e', [], 7)])['e']).toBe('down')
    expect(kinds('a', [...others, recordOf('e', [], 8)])['e']).toBe('alive')
    expect(kinds('a', [...others, recordOf('e', [], 1, 2)])['e']).toBe('alive')
  })

  it("a node's own judgement stands until a newer record came, whoever vouches", () => {
    const says = { a: [about('e', 'judged', 7)] }
    expect(kinds('a', [...cluster('abcd', says), recordOf('e', [], 7)])['e']).toBe('down')
    expect(kinds('b', [...cluster('abcd', says), recordOf('e', [], 7)])['e']).toBe('suspect')
    expect(kinds('a', [...cluster('abcd', says), recordOf('e', [], 8)])['e']).toBe('suspect')
  })

  it('in a large mesh half of which died, the survivors judge all of the dead', () => {
    const names = Array.from({ length: 60 }, (_, index) => `node-${String(index).padStart(2, '0')}`)
    const dead = new Set(names.filter((_, index) => index % 2 === 1))
    const alerts = [...dead].map((name) => about(name, 'silent'))
    const records = names.map((name) => recordOf(name, dead.has(name) ? [] : alerts))
    for (const self of ['node-00', 'node-30']) {
      for (const [id, { kind }] of livenessOf(viewOf(self, records))) {
        expect([id, kind]).toEqual([id, dead.has(id) ? 'down' : 'alive'])
      }
    }
  })

  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
  const alertArb = fc.record({
    target: fc.constantFrom(...names).map(node),
    evidence: fc.constantFrom('suspected', 'silent', 'refused', 'judged', 'returned'),
    epoch: fc.integer({ min: 1, max: 2 }),
    seq: fc.integer({ min: 1, max: 3 }),
    sinceMs: fc.integer({ min: 0, max: 1_000 }),
  })
  const recordsArb = fc.tuple(
    ...names.map((name) =>
      fc
        .tuple(fc.array(alertArb, { maxLength: 6 }), fc.integer({ min: 1, max: 3 }))
        .map(([alerts, seq]) => recordOf(name, alerts, seq)),
    ),
  )

  it('is a function of the records: neither their order nor the order of alerts nor the clocks in them matter', () => {
    fc.assert(
      fc.property(recordsArb, fc.infiniteStream(fc.nat()), (records, numbers) => {
        const before = livenessOf(viewOf('a', records), 4)
        const shuffled = records
          .map((record) => ({ record, at: numbers.next().value as number }))
          .sort((x, y) => x.at - y.at)
          .map(({ record }) => ({
            ...record,
            alerts: new Map(
              [...record.alerts].toReversed().map(([id, alert]) => [id, { ...alert, sinceMs: 5 }]),
            ),
          }))
        const after = livenessOf(viewOf('a', shuffled), 4)
        expect(new Map(after)).toEqual(new Map(before))
      }),
    )
  })

  it('a node never condemns itself, and a node that nobody accuses is alive', () => {
    fc.assert(
      fc.property(recordsArb, (records) => {
        const liveness = livenessOf(viewOf('a', records), 4)
        expect(liveness.get(node('a'))?.kind).toMatch(/^(alive|suspect)$/)
        const unaccused = [...liveness].filter(
          ([id]) => !records.some((record) => record.node !== id && record.alerts.has(id)),
        )
        expect(unaccused.map(([, { kind }]) => kind)).toEqual(unaccused.map(() => 'alive'))
      }),
    )
  })
})
