import { expect, test } from 'vitest'
import { defaults } from '../../../defaults.ts'
import { Detour } from './detour.ts'

const settings = { ...defaults, datagramMissesMax: 3, datagramOffMs: 60_000 }

test('three misses in a row while the connection answers end the datagrams, and after a minute one is tried', () => {
  const detour = new Detour(settings)
  expect([detour.missed(0), detour.missed(400), detour.missed(800)]).toEqual([false, false, true])
  expect(detour.isOn(60_799)).toBe(false)
  expect(detour.isOn(60_800)).toBe(true)
  // One more miss is enough, and nothing new.
  expect(detour.missed(60_900)).toBe(false)
  expect(detour.isOn(61_000)).toBe(false)
  expect(detour.isOn(120_900)).toBe(true)
  expect([detour.answered(), detour.answered()]).toEqual([true, false])
  expect(detour.missed(121_000)).toBe(false)
  expect(detour.isOn(121_000)).toBe(true)
})

test('lost datagrams between answers change nothing', () => {
  const detour = new Detour(settings)
  for (let round = 0; round < 10; round += 1) {
    expect(detour.missed(round)).toBe(false)
    expect(detour.missed(round)).toBe(false)
    detour.answered()
  }
  expect(detour.isOn(10)).toBe(true)
})
