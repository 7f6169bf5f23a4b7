import { expect, test } from 'vitest'
import { goDurationMs } from './go-duration.ts'

test.each([
  ['0', 0],
  ['5s', 5_000],
  ['1m30s', 90_000],
  ['1.5h', 5_400_000],
  ['.5s', 500],
  ['100us', 0.1],
  ['250ms', 250],
])('%s is %d ms', (text, ms) => {
  expect(goDurationMs(text)).toBeCloseTo(ms, 9)
})

test.each(['', '5', 's', '5 s', '1m 30s', '-5s', '5d', '5ss', '1..5s', '５s'])(
  '%j is no duration',
  (text) => {
    expect(goDurationMs(text)).toBeUndefined()
  },
)
