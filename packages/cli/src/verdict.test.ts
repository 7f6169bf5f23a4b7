import { describe, expect, it } from 'vitest'
import {
  type Fate,
  fateOf,
  isGoingBack,
  isSettled,
  lastWord,
  type OutcomeRow,
  type Written,
} from './verdict.ts'

const web: Written = { id: 'w', name: 'shop_web', version: 7, change: 'updated' }
const row: OutcomeRow = { id: 'w', name: 'shop_web', version: 7, running: 3, desired: 3 }
const failure = { task: 't1', error: 'exit code 3' }
const inState = (state: string): OutcomeRow => ({ ...row, update: { state, message: 'so it is' } })

describe('what became of a service', () => {
  it.each<readonly [string, OutcomeRow | undefined, Fate, boolean]>([
    ['runs all it should', row, { kind: 'runs' }, true],
    ['has too few', { ...row, running: 2 }, { kind: 'under way' }, false],
    ['is being updated', inState('updating'), { kind: 'under way' }, false],
    ['was updated', inState('completed'), { kind: 'runs' }, true],
    ['is rolled back by hand', inState('rollback_completed'), { kind: 'runs' }, true],
    ['is paused', inState('paused'), { kind: 'paused', message: 'so it is' }, true],
    ['is gone', undefined, { kind: 'removed' }, true],
    [
      'is going back',
      { ...inState('rollback_started'), failure },
      { kind: 'went back', ended: false, why: 'task t1: exit code 3', service: undefined },
      false,
    ],
    [
      'went back with its release',
      {
        ...inState('rollback_completed'),
        failure: { ...failure, release: { id: '7-a', service: 'shop_api' } },
      },
      { kind: 'went back', ended: true, why: 'task t1: exit code 3', service: 'shop_api' },
      true,
    ],
    [
      'is paused on its way back',
      { ...inState('rollback_paused'), running: 1, failure },
      {
        kind: 'went back',
        ended: true,
        why: 'task t1: exit code 3; going back is paused: so it is',
        service: undefined,
      },
      true,
    ],
  ])('that %s', (_, given, fate, settled) => {
    expect(fateOf(web, given)).toEqual(fate)
    expect(isSettled(fate)).toBe(settled)
  })

  it('an earlier failure of one that was left as it was is none of this deploy; one that comes later is', () => {
    const unchanged = { ...web, change: 'unchanged' } as const
    const back = { ...inState('rollback_completed'), failure }
    expect(fateOf(unchanged, back)).toEqual({ kind: 'runs' })
    expect(fateOf(unchanged, { ...back, version: 8 }).kind).toBe('went back')
  })

  it('one that runs may still go back while another of the release has failed by itself', () => {
    const back = (service: string | undefined): Fate => ({ kind: 'went back', ended: true, why: '', service })
    expect(isGoingBack([[web, { kind: 'runs' }]])).toBe(false)
    expect(isGoingBack([[web, back('shop_api')]])).toBe(false)
    expect(isGoingBack([[web, back(undefined)]])).toBe(true)
  })

  it('a person is told which failed, which went with it, and why one stays', () => {
    const said = (fate: Fate, change: Written['change'] = 'updated'): string | undefined =>
      lastWord({ ...web, change }, fate, '7-a', true, '2 of 3 run')
    const back = { kind: 'went back', ended: true, why: 'task t1' } as const
    expect([
      said({ ...back, service: undefined }),
      said({ ...back, service: 'shop_api' }),
      said({ kind: 'runs' }, 'created'),
      said({ kind: 'runs' }),
      said({ kind: 'runs' }, 'unchanged'),
      said({ kind: 'under way' }),
    ]).toEqual([
      'shop_web: the update failed and is undone: task t1',
      'shop_web: went back with its release: shop_api failed',
      'shop_web: stays: it is new, and there is nothing to go back to',
      'shop_web: stays: somebody has changed it since',
      undefined,
      'shop_web: 2 of 3 run',
    ])
  })
})
