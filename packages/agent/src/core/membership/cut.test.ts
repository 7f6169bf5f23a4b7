import { array, assert, constantFrom, integer, property, tuple } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Cut, firstCut, nextCut } from './cut.ts'
import type { Liveness, LivenessMap, Version } from './liveness.ts'
import { node } from './testing.ts'

const names = ['a', 'b', 'c', 'd', 'e'] as const
const self = node('e')
const settings = { cutWaitMs: 800, unstableMaxMs: 3_000, youngDoubtMs: 8_000, newsMs: 2_000 }

/** `a down, b suspect, c unheard`, which is a suspect whom nobody hears, `d stale`, which is down and has published since; all others of a to e are alive. */
function seen(words: string): LivenessMap {
  const kinds = new Map(
    words.split(', ').map((word) => word.split(' ') as [string, Liveness['kind'] | 'unheard' | 'stale']),
  )
  return new Map(
    names.map((name): [ReturnType<typeof node>, Liveness] => {
      const kind = kinds.get(name) ?? 'alive'
      if (kind === 'unheard') return [node(name), { kind: 'suspect', observers: [] }]
      if (kind === 'stale') return [node(name), { kind: 'down', observers: [], isStale: true }]
      if (kind === 'suspect') return [node(name), { kind, observers: [], isHeard: true }]
      return [node(name), kind === 'alive' || kind === 'unknown' ? { kind } : { kind, observers: [] }]
    }),
  )
}
/** Everybody's record as of this look. */
function recordsAt(look: number): ReadonlyMap<ReturnType<typeof node>, Version> {
  return new Map(names.map((name) => [node(name), { epoch: 1, seq: look }]))
}
const down = ({ liveness }: Cut): string =>
  [...liveness].flatMap(([name, { kind }]) => (kind === 'down' || kind === 'agent-down' ? [name] : [])).join()

/** What is acted upon after each of these looks: `[ms, what is seen]`. All publish between two, unless it says otherwise. */
function cutsOf(looks: readonly (readonly [number, string, ('cut off' | 'nothing new')?])[]): readonly Cut[] {
  let cut = firstCut
  let published = 0
  return looks.map(([nowMs, words, what]) => {
    if (what !== 'nothing new') published += 1
    const records = recordsAt(published)
    return (cut = nextCut(
      cut,
      { self, assessed: seen(words), records, isCutOff: what === 'cut off', nowMs },
      settings,
    ))
  })
}

describe('a cut', () => {
  it('is taken at once where nobody else is in doubt', () => {
    expect(cutsOf([[0, 'a down']]).map(down)).toEqual(['a'])
  })

  it('waits for those in doubt, and takes all out together', () => {
    const cuts = cutsOf([
      [0, 'a suspect, b suspect, c suspect'],
      [100, 'a down, b suspect, c suspect'],
      [200, 'a down, b down, c suspect'],
      [300, 'a down, b down, c down'],
    ])
    expect(cuts.map(down)).toEqual(['', '', '', 'a,b,c'])
    expect(cuts[1]!.liveness.get(node('a'))).toMatchObject({ kind: 'suspect' })
  })

  it('leaves on probation who waits for it and was so before', () => {
    const probation = { isOnProbation: true } as const
    const assessed = new Map(seen('b suspect')).set(node('a'), { kind: 'alive', ...probation })
    const before = nextCut(
      firstCut,
      { self, assessed, records: recordsAt(0), isCutOff: false, nowMs: 0 },
      settings,
    )
    const after = nextCut(
      before,
      { self, assessed: seen('a down, b suspect'), records: recordsAt(1), isCutOff: false, nowMs: 100 },
      settings,
    )
    expect(after.liveness.get(node('a'))).toEqual({ kind: 'suspect', observers: [], ...probation })
  })

  it('stands until a newer record comes, though those whose word it was fall silent', () => {
    const cuts = cutsOf([
      [0, 'a down'],
      [100, 'a suspect, b suspect', 'nothing new'],
      [200, 'b down', 'nothing new'],
      [300, 'a suspect, b down'],
      [400, ''],
    ])
    expect(cuts.map(down)).toEqual(['a', 'a', 'a,b', 'b', ''])
    expect([...cuts[1]!.unstable.keys()]).toEqual([node('b')])
  })

  it('stands for what was published since too, where that is accused as well', () => {
    const [, again] = cutsOf([
      [0, 'a down'],
      [100, 'a down'],
    ])
    const after = (cut: Cut): string =>
      down(
        nextCut(
          cut,
          { self, assessed: seen(''), records: recordsAt(2), isCutOff: false, nowMs: 200 },
          settings,
        ),
      )
    expect(after(again!)).toBe('a')
    const [, older] = cutsOf([
      [0, 'a down'],
      [100, 'a stale'],
    ])
    expect(after(older!)).toBe('')
  })

  it('on one that has answered its accusers already ends with their word', () => {
    const cuts = cutsOf([
      [0, 'a stale'],
      [500, 'b suspect', 'nothing new'],
    ])
    expect(cuts.map(down)).toEqual(['a', ''])
  })

  it('comes when the doubt was unfounded', () => {
    const cuts = cutsOf([
      [0, 'a down, b suspect'],
      [300, 'a down'],
    ])
    expect(cuts.map(down)).toEqual(['', 'a'])
  })

  it('waits so long and no longer, and says when', () => {
    const [first, second] = cutsOf([
      [0, 'a down, b suspect'],
      [800, 'a down, b suspect'],
    ])
    expect(first!.lookAtMs).toBe(800)
    expect(down(second!)).toBe('a')
  })

  it('tells who is unsettled, and when that will be over', () => {
    const cuts = cutsOf([
      [0, 'a down, b suspect'],
      [800, 'a down, b suspect'],
      [8_000, 'a down, b suspect'],
    ])
    const told = cuts.map(({ unsettled, lookAtMs }) => [
      [...unsettled].map((name) => name[0]).join(''),
      lookAtMs,
    ])
    expect(told).toEqual([
      ['ba', 800],
      ['b', 8_000],
      ['', undefined],
    ])
  })

  it('leaves unsettled whom nobody hears, for as long as that lasts', () => {
    const cuts = cutsOf([
      [0, 'a unheard, b suspect'],
      [60_000, 'a unheard, b suspect'],
      [60_100, 'a suspect, b suspect'],
    ])
    expect(cuts.map(({ unsettled }) => [...unsettled].map((name) => name[0]).join(''))).toEqual([
      'ab',
      'a',
      '',
    ])
  })

  const unsettledAfter = (
    looks: readonly (readonly [nowMs: number, look: number, words: string, missed?: string])[],
  ): readonly (readonly [string, number | undefined])[] => {
    let cut = firstCut
    return looks.map(([nowMs, look, words, missed]) => {
      const records = recordsAt(look)
      const isMissed = missed === undefined ? [] : [node(missed)]
      const assessed = seen(words)
      cut = nextCut(cut, { self, assessed, records, missed: isMissed, isCutOff: false, nowMs }, settings)
      return [[...cut.unsettled].map((name) => name[0]).join(''), cut.lookAtMs]
    })
  }

  it('leaves unsettled whom this node itself misses, and whom it hears again until news of it is here', () => {
    expect(
      unsettledAfter([
        [0, 1, '', 'c'],
        [30_000, 2, '', 'c'],
        [60_100, 2, ''],
        [60_500, 3, ''],
      ]),
    ).toEqual([
      ['c', undefined],
      ['c', undefined],
      ['c', 68_100],
      ['', undefined],
    ])
  })

  it('settles who is heard again at once where news of it came just before that, and not what came long before', () => {
    const heardAfter = (...newsAtMs: readonly number[]): string => {
      const looks = newsAtMs.map((atMs, at) => [atMs, at + 2, '', 'c'] as const)
      const [last = ['', undefined]] = unsettledAfter([
        [0, 1, '', 'c'],
        ...looks,
        [60_000, newsAtMs.length + 1, ''],
      ]).slice(-1)
      return last[0]
    }
    expect(heardAfter(59_900)).toBe('')
    expect(heardAfter(58_000)).toBe('')
    expect(heardAfter(57_999)).toBe('c')
    expect(heardAfter(57_000, 59_000)).toBe('')
    expect(heardAfter()).toBe('c')
  })

  it('leaves unsettled for a while who was in doubt and has no news', () => {
    expect(
      unsettledAfter([
        [0, 1, 'b suspect'],
        [7_000, 1, ''],
        [14_999, 1, ''],
        [15_000, 1, ''],
        [16_000, 1, 'b suspect'],
        [17_000, 2, ''],
      ]),
    ).toEqual([
      ['b', 8_000],
      ['b', 15_000],
      ['b', 15_000],
      ['', undefined],
      ['b', 24_000],
      ['', undefined],
    ])
  })

  it('settles itself as soon as nobody doubts it: of itself it knows the newest', () => {
    const told = unsettledAfter([
      [0, 1, 'e suspect'],
      [1_000, 1, ''],
      [1_500, 1, 'e suspect'],
      [2_000, 1, ''],
      [2_500, 1, 'e suspect'],
      [10_500, 1, 'e suspect'],
    ])
    expect(told).toEqual([
      ['e', 8_000],
      ['', undefined],
      ['e', 9_500],
      ['', undefined],
      ['e', 10_500],
      ['', undefined],
    ])
  })

  it('does not wait for one that has been in doubt for long', () => {
    const cuts = cutsOf([
      [0, 'e suspect'],
      [3_000, 'a down, e suspect'],
    ])
    expect(down(cuts[1]!)).toBe('a')
  })

  it('is not undone by a doubt that comes later', () => {
    const cuts = cutsOf([
      [0, 'a down'],
      [100, 'a down, b suspect'],
      [200, 'b suspect'],
    ])
    expect(cuts.map(down)).toEqual(['a', 'a', ''])
  })

  it('a dead agent whose host dies stays what it was while it waits', () => {
    const cuts = cutsOf([
      [0, 'a agent-down'],
      [5_000, 'a down, b suspect'],
    ])
    expect(cuts[1]!.liveness.get(node('a'))).toMatchObject({ kind: 'agent-down' })
  })

  it('is not taken by one who is cut off, whatever it took before', () => {
    const cuts = cutsOf([
      [0, 'a down'],
      [100, 'a down, b down', 'cut off'],
      [60_000, 'a down, b down', 'cut off'],
      [60_001, 'a down, b down'],
    ])
    expect(cuts.map(down)).toEqual(['a', 'a', 'a', 'a,b'])
  })

  it('comes at the latest when it said, whatever was seen meanwhile (property)', () => {
    const kind = constantFrom('alive', 'suspect', 'down', 'agent-down')
    const words = array(tuple(constantFrom(...names), kind)).map((all) => {
      const last = new Map(all)
      return [...last].map((pair) => pair.join(' ')).join(', ')
    })
    assert(
      property(array(tuple(integer({ min: 0, max: 500 }), words)), (looks) => {
        let nowMs = 0
        let cut = firstCut
        for (const [look, [afterMs, each]] of looks.entries()) {
          nowMs += afterMs
          const records = recordsAt(look)
          cut = nextCut(cut, { self, assessed: seen(each), records, isCutOff: false, nowMs }, settings)
          const waitedMs = [...cut.waiting.values()].map((sinceMs) => nowMs - sinceMs)
          expect(waitedMs.filter((ms) => ms >= settings.cutWaitMs)).toEqual([])
          // Either it says when it looks again, or it hides nothing.
          const isOpen = cut.waiting.size === 0
          expect(isOpen ? cut.liveness : cut.lookAtMs! > nowMs).toEqual(isOpen ? seen(each) : true)
        }
      }),
    )
  })
})
