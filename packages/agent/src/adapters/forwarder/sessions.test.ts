import { describe, expect, it } from 'vitest'
import { type Session } from './session.ts'
import { Sessions } from './sessions.ts'

describe('clients of UDP', () => {
  const door = {}
  let nowMs = 0
  const begin = (sessions: Sessions, client: string, task = 'web'): { ended: boolean } => {
    const session = {
      task,
      ended: false,
      end() {
        session.ended = true
        sessions.forget(door, client, session as unknown as Session)
      },
    }
    sessions.add(door, client, session as unknown as Session)
    return session
  }

  it('the one that was silent for longest gives way where there are too many', () => {
    const counts = { sessions: 0, gaveWay: 0 }
    const sessions = new Sessions(2, 1_000, counts, () => nowMs)
    const [first, second] = [begin(sessions, 'a'), begin(sessions, 'b')]
    sessions.find(door, 'a')
    begin(sessions, 'c')
    expect([first.ended, second.ended]).toEqual([false, true])
    expect(counts).toEqual({ sessions: 3, gaveWay: 1 })
  })

  it('of one that was silent for long nothing is remembered', () => {
    const sessions = new Sessions(9, 1_000, { sessions: 0, gaveWay: 0 }, () => nowMs)
    const [first, second] = [begin(sessions, 'a'), begin(sessions, 'b')]
    nowMs += 600
    sessions.find(door, 'a')
    nowMs += 600
    sessions.endIdle()
    expect([first.ended, second.ended]).toEqual([false, true])
  })

  it('of one door those end that are meant, and another in the place of one that has ended stays', () => {
    const sessions = new Sessions(9, 1_000, { sessions: 0, gaveWay: 0 }, () => nowMs)
    const [first, second] = [begin(sessions, 'a', 'web1'), begin(sessions, 'b', 'web2')]
    sessions.endOf(door, ({ task }) => (task as string) === 'web1')
    expect([first.ended, second.ended]).toEqual([true, false])
    const next = begin(sessions, 'a')
    sessions.forget(door, 'a', first as unknown as Session)
    expect(sessions.find(door, 'a')).toBe(next)
  })
})
