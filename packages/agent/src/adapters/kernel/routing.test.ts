import { expect, test } from 'vitest'
import { peerMarkLast } from '../../core/network/peers.ts'
import { markOfHop, peerHop } from './routing.ts'

test('a peer’s hop tells its mark, and what is no peer’s tells none', () => {
  for (let mark = 1; mark <= peerMarkLast; mark += 1) expect(markOfHop(peerHop(mark))).toBe(mark)
  for (const other of ['10.0.0.1', '169.254.079.9', 'fe80::1', '']) expect(markOfHop(other)).toBeUndefined()
})
