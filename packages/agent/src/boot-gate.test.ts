import { beforeEach, describe, expect, it } from 'vitest'
import { type BootGate, createBootGate } from './boot-gate.ts'
import { node } from './core/membership/testing.ts'
import type { Liveness } from './core/membership/liveness.ts'
import { defaults } from './defaults.ts'
import { type MemoryClock, memoryClock } from './ports/clock.memory.ts'

const self = node('a')
const b = node('b')
const c = node('c')

describe('an agent that has just started', () => {
  let clock: MemoryClock
  let gate: BootGate
  let members: string[]
  let isCompared: boolean
  let isOwnDamaged: boolean
  let holes: { readonly what: string; readonly setAsideAs: string; readonly healed: boolean }[]
  let down: string[]
  let isOwnDocumentThere: boolean
  let isRemoved: boolean
  let hasLostMembers: boolean
  let waitsOver: number

  beforeEach(() => {
    clock = memoryClock()
    members = ['a', 'b', 'c']
    isCompared = false
    isOwnDamaged = false
    holes = []
    down = []
    isOwnDocumentThere = true
    isRemoved = false
    hasLostMembers = false
    waitsOver = 0
    gate = createBootGate({
      self,
      specs: {
        damage: () => holes,
        byName: () => (isOwnDocumentThere ? ({} as never) : undefined),
        tombstone: () => (isRemoved ? ({} as never) : undefined),
      },
      records: {
        get isOwnDamaged() {
          return isOwnDamaged
        },
      },
      isCompared: () => isCompared,
      hasLostMembers: () => hasLostMembers,
      members: () => new Map(members.map((name) => [node(name), true])),
      liveness: () =>
        new Map(
          members.map((name) => [node(name), { kind: down.includes(name) ? 'down' : 'alive' } as Liveness]),
        ),
      clock,
      settings: defaults,
      waitOver: () => {
        waitsOver += 1
      },
    })
    gate.start()
  })

  it('decides once it was compared with everybody who is not known to be down', () => {
    isCompared = true
    gate.heard(b)
    expect(gate.isOpen()).toBe(false)
    gate.heard(c)
    expect(gate.isOpen()).toBe(true)
  })

  it('waits for nobody who is down', () => {
    isCompared = true
    gate.heard(b)
    down = ['c']
    expect(gate.isOpen()).toBe(true)
  })

  it('of many, one peer is enough: not all are connected with all', () => {
    members = ['a', ...Array.from({ length: defaults.meshFullDegree }, (_, index) => `n${index}`)]
    expect(gate.isOpen()).toBe(false)
    isCompared = true
    expect(gate.isOpen()).toBe(true)
  })

  it('alone, or no member any more, it has nobody to wait for, whatever its disk has lost', () => {
    members = ['a']
    expect(gate.isOpen()).toBe(true)
    members = ['b', 'c']
    isOwnDocumentThere = false
    isRemoved = true
    expect(gate.isOpen()).toBe(true)
    holes = [{ what: 'document', setAsideAs: 'x', healed: false }]
    expect(gate.isOpen()).toBe(true)
  })

  it('that knows of members whose documents it has lost is not alone: it waits for one of them for a while', async () => {
    members = ['a']
    hasLostMembers = true
    await clock.advance(defaults.bootSyncTimeoutMs)
    expect(gate.isOpen()).toBe(false)
    await clock.advance(defaults.bootHearTimeoutMs - defaults.bootSyncTimeoutMs)
    expect(gate.isOpen()).toBe(true)
  })

  it('acts alone when nobody could be compared with, or when somebody was not heard, for long enough, and says so', async () => {
    await clock.advance(defaults.bootSyncTimeoutMs)
    expect(waitsOver).toBe(1)
    expect(gate.isOpen()).toBe(false)
    await clock.advance(defaults.bootHearTimeoutMs - defaults.bootSyncTimeoutMs)
    expect(waitsOver).toBe(2)
    expect(gate.isOpen()).toBe(true)
  })

  it('with holes in its own record it waits for a peer to fill them, and then writes one without', async () => {
    members = ['a']
    isOwnDamaged = true
    expect(gate.recordIsWhole()).toBe(false)
    expect(gate.isOpen()).toBe(false)
    await clock.advance(defaults.bootSyncTimeoutMs)
    expect(gate.recordIsWhole()).toBe(true)
    expect(gate.isOpen()).toBe(true)
  })

  it('forgotten by its own damaged store, it takes itself for no stranger and stops nothing', async () => {
    members = []
    holes = [{ what: 'document', setAsideAs: 'x', healed: false }]
    await clock.advance(defaults.bootHearTimeoutMs)
    expect(gate.isOpen()).toBe(false)
    isCompared = true
    expect(gate.isOpen()).toBe(true)
  })

  it('whose own document was lost before this start was not removed either', async () => {
    members = ['b']
    isOwnDocumentThere = false
    await clock.advance(defaults.bootHearTimeoutMs)
    expect(gate.isOpen()).toBe(false)
    isCompared = true
    expect(gate.isOpen()).toBe(true)
  })

  it('that is stopped waits no longer', async () => {
    gate.stop()
    await clock.advance(defaults.bootHearTimeoutMs)
    expect(waitsOver).toBe(0)
  })
})
