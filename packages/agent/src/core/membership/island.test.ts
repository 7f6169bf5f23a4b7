import { describe, expect, it } from 'vitest'
import { defaults } from '../../defaults.ts'
import {
  company,
  heardOther,
  heardWitness,
  isCutOff,
  isDecided,
  nextSolitude,
  type Solitude,
  type WitnessWord,
} from './island.ts'
import { node } from './testing.ts'

const nobody = (nowMs: number, others: readonly string[] = []) => ({
  silence: 'total' as const,
  others: () => others.map(node),
  nowMs,
})
const begun = (others: readonly string[] = []): Solitude =>
  nextSolitude(company, nobody(0, others), defaults).solitude
const withWord = (word: WitnessWord, others: readonly string[] = []): Solitude =>
  heardWitness(begun(others), word, 10, defaults)
const cutOff = (solitude: Solitude, members = 5, nowMs = 100): boolean =>
  isCutOff(solitude, members, nowMs, defaults)

describe('who hears nobody', () => {
  it('asks other members and its witness, and waits for what they say', () => {
    const many = Array.from({ length: 20 }, (_, index) => `other-${index}`)
    const step = nextSolitude(company, nobody(0, many), defaults)
    expect(step.askWitness).toBe(true)
    expect(step.ask).toEqual(many.slice(0, defaults.islandAsksMax))
    expect(cutOff(step.solitude)).toBe(true)
  })

  it('is cut off where the witness is silent too, and asks it again from time to time', () => {
    const island = withWord('silent')
    expect(cutOff(island)).toBe(true)
    expect(cutOff(island, 2)).toBe(true)
    const soon = nextSolitude(island, nobody(500), defaults)
    expect(soon).toMatchObject({ solitude: island, askWitness: false })
    const later = nextSolitude(island, nobody(defaults.witnessAgainMs), defaults)
    expect(later.askWitness).toBe(true)
    expect(cutOff(later.solitude)).toBe(true)
  })

  it('is a survivor where the witness answers, or a member whom it does not watch', () => {
    expect(cutOff(withWord('answered'))).toBe(false)
    const other = { node: node('f'), isThere: true }
    expect(cutOff(heardOther(withWord('silent', ['f']), other, 20, defaults))).toBe(false)
  })

  it('waits for the others that it asked, whatever the witness cannot say', () => {
    const waiting = withWord('unknown', ['f'])
    expect(cutOff(waiting, 2)).toBe(true)
    const answered = heardOther(waiting, { node: node('f'), isThere: false }, 20, defaults)
    expect(cutOff(answered, 2)).toBe(false)
  })

  it('without a witness takes itself for cut off among three, and for the survivor of two', () => {
    expect(cutOff(withWord('unknown'), 3)).toBe(true)
    expect(cutOff(withWord('unknown'), 2)).toBe(false)
  })

  it('has company again with the first answer of anybody', () => {
    const seen = { silence: 'none' as const, others: () => [], nowMs: 500 }
    expect(nextSolitude(withWord('silent'), seen, defaults).solitude).toEqual(company)
  })

  it('asks itself anew after a while, since a survivor can be cut off too', () => {
    const survivor = withWord('answered')
    expect(nextSolitude(survivor, nobody(500), defaults).solitude).toBe(survivor)
    const later = nextSolitude(survivor, nobody(defaults.survivorForMs + 10, ['f']), defaults)
    expect(later).toMatchObject({ ask: ['f'], askWitness: true })
    expect(cutOff(later.solitude)).toBe(true)
    expect(isDecided(later.solitude)).toBe(false)
  })

  it('is an island for so long and no longer', () => {
    expect(cutOff(withWord('silent'), 5, defaults.islandMaxMs - 1)).toBe(true)
    expect(cutOff(withWord('silent'), 5, defaults.islandMaxMs)).toBe(false)
  })
})
