import { expect, test } from 'vitest'
import { doorsFor } from './doors.ts'

const listed = [
  { host: '172.17.0.1', port: 7420 },
  { host: 'moot.example.org', port: 7420 },
  { host: '10.0.0.2', port: 7420 },
]

test('a member with which there is no connection is asked wherever it says that it listens', () => {
  expect(doorsFor(undefined, listed)).toEqual([listed[0], listed[2]])
})

test('where the connection leads comes first', () => {
  const used = { host: '10.0.0.2', port: 7420, direction: 'outbound' as const }
  expect(doorsFor(used, listed)).toEqual([listed[2], listed[0]])
})

test('the host from which it connected comes first, at the port where it listens', () => {
  const used = { host: '192.0.2.9', port: 51_234, direction: 'inbound' as const }
  expect(doorsFor(used, listed)).toEqual([{ host: '192.0.2.9', port: 7420 }, listed[0], listed[2]])
})

test('ports that are none, and names, are left out', () => {
  expect(
    doorsFor(undefined, [
      { host: '10.0.0.2', port: 0 },
      { host: '::1', port: 70_000 },
    ]),
  ).toEqual([])
})
