import type { NodeId } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { Dice } from '../placement/law.random.ts'
import { forcedEpoch } from './epoch.ts'
import { leaseStatus } from './lease-status.ts'
import type { Seat, SlotKey } from './messages.ts'
import { physics, times } from './testing/chaos.ts'
import type { Host } from './testing/host.ts'
import { World } from './testing/world.ts'

const slot = 'db.1' as SlotKey
const names = ['n1', 'n2', 'n3', 'n4', 'n5'] as NodeId[]
const [n1, n2, n3, n4, n5] = names as [NodeId, NodeId, NodeId, NodeId, NodeId]

function seats(world: World, nodes: readonly NodeId[]): readonly Seat[] {
  return nodes.map((node) => ({ node, disk: world.host(node).durable.disk }))
}

/** Five hosts, these voters, and the slot on n2. */
function running(seed: number, voters: readonly NodeId[]): World {
  const world = new World(new Dice(seed), names, physics)
  world.input(world.host(n1), { kind: 'propose', voters: seats(world, voters) })
  world.timeline.runUntil(4_000)
  world.setWants(slot, new Set([n2]))
  // A slow engine takes 8 s; then some time between two renewals.
  world.timeline.runUntil(14_000 + (seed % 100) * 37)
  expect(world.checker.holderOf(slot).map(({ node }) => node)).toEqual([n2])
  return world
}

function isolate(world: World, apart: readonly NodeId[]): void {
  for (const a of names)
    for (const b of names) if (apart.includes(a) !== apart.includes(b)) world.cut.add(`${a} ${b}`)
}

/** Until this node has the lease. */
function waitMs(world: World, host: Host, atMostMs: number): number {
  const sinceMs = world.timeline.nowMs
  const hasLease = (): boolean =>
    host.member !== undefined && leaseStatus(host.member, slot, world.localMs(host)).kind === 'held'
  while (!hasLease() && world.timeline.nowMs < sinceMs + atMostMs)
    world.timeline.runUntil(world.timeline.nowMs + 5)
  return world.timeline.nowMs - sinceMs
}

const seeds = Array.from({ length: 100 }, (_, seed) => seed)

describe('an exclusive slot moves', () => {
  it('within the promised time when its side has lost the majority, and not before its task is gone', () => {
    const waits = seeds.map((seed) => {
      const world = running(seed, seed % 2 === 0 ? [n1, n3, n4] : names)
      isolate(world, seed % 3 === 0 ? [n2] : [n2, n5])
      world.setWants(slot, new Set([n2, n3]))
      const waited = waitMs(world, world.host(n3), 60_000)
      expect(world.checker.holderOf(slot)).toEqual([])
      return waited
    })
    expect(Math.max(...waits)).toBeLessThanOrEqual(times.movesWithinMs)
    // Else the bound says nothing.
    expect(Math.max(...waits)).toBeGreaterThan(times.movesWithinMs - 2_000)
  })

  it('within the time of a stop and a look when it is given back', () => {
    for (const seed of seeds) {
      const world = running(seed, names)
      world.setWants(slot, new Set([n3]))
      // A stop takes up to two seconds here.
      expect(waitMs(world, world.host(n3), 60_000)).toBeLessThanOrEqual(2_000 + 700)
    }
  })

  it('also to one of two that both ask for it', () => {
    for (const seed of seeds) {
      const world = running(seed, names)
      world.setWants(slot, new Set([n3, n4]))
      world.timeline.runUntil(world.timeline.nowMs + 16_000)
      expect(world.checker.holderOf(slot)).toHaveLength(1)
      expect(world.checker.violations).toEqual([])
    }
  })
})

describe('two majorities that are seen through a node in the middle', () => {
  it('have one holder between them, and keep it', () => {
    for (const seed of seeds) {
      const world = running(seed, names)
      for (const a of [n1, n2]) for (const b of [n4, n5]) world.cut.add(`${a} ${b}`).add(`${b} ${a}`)
      world.setWants(slot, new Set([n1, n5]))
      world.timeline.runUntil(world.timeline.nowMs + 30_000)
      const [holder] = world.checker.holderOf(slot)
      expect([n1, n5]).toContain(holder?.node)
      world.timeline.runUntil(world.timeline.nowMs + 30_000)
      expect(world.checker.holderOf(slot)).toEqual([holder])
      expect(world.checker.violations).toEqual([])
    }
  })
})

describe('after a majority of the voters is lost for good', () => {
  const lost = [n1, n3, n4]

  it('nothing is held, until a person names other voters; then with a fence far above', () => {
    for (const seed of seeds) {
      const world = running(seed, names)
      const [before] = world.checker.holderOf(slot)
      for (const node of lost) world.powerOff(world.host(node), 10 ** 9, false)
      world.timeline.runUntil(world.timeline.nowMs + 60_000)
      expect(world.checker.holderOf(slot)).toEqual([])
      const forced = forcedEpoch(world.host(n5).durable.epoch, seats(world, [n5]), n5)
      world.input(world.host(n5), { kind: 'force', epoch: forced })
      // Silence first, on a slow clock; then a look and a take.
      expect(waitMs(world, world.host(n2), 60_000)).toBeLessThan(times.silenceMs / 0.95 + 4_000)
      world.timeline.runUntil(world.timeline.nowMs + 10_000)
      const [after] = world.checker.holderOf(slot)
      expect(after?.fence).toBeGreaterThan((before?.fence ?? 0) + 1_000_000)
    }
  })

  it('who comes back follows the voters that were named meanwhile', () => {
    const world = running(0, names)
    for (const node of lost) world.powerOff(world.host(node), 30_000, false)
    world.timeline.runUntil(world.timeline.nowMs + 1_000)
    const forced = forcedEpoch(world.host(n5).durable.epoch, seats(world, [n5]), n5)
    world.input(world.host(n5), { kind: 'force', epoch: forced })
    world.timeline.runUntil(world.timeline.nowMs + 90_000)
    const known = [...world.hosts.values()].map(({ durable }) => durable.epoch.number)
    expect(new Set(known)).toEqual(new Set([forced.number]))
    expect(world.checker.violations).toEqual([])
  })
})

describe('an exclusive task runs on', () => {
  it('while all voters are replaced, again and again', () => {
    for (const seed of seeds) {
      const world = running(seed, [n1, n2, n3])
      for (const next of [[n3, n4, n5], [n1], [n2, n4, n5], names]) {
        world.input(world.host(n3), { kind: 'propose', voters: seats(world, next) })
        world.input(world.host(n1), { kind: 'propose', voters: seats(world, next) })
        world.input(world.host(n5), { kind: 'propose', voters: seats(world, next) })
        world.timeline.runUntil(world.timeline.nowMs + 6_000)
      }
      expect(world.host(n2).durable.epoch.number).toBeGreaterThanOrEqual(6)
      expect(world.checker.holderOf(slot).map(({ node }) => node)).toEqual([n2])
      expect(world.checker.starts).toBe(1)
    }
  })

  it('when all agents are restarted at once', () => {
    for (const seed of seeds) {
      const world = running(seed, names)
      for (const host of world.hosts.values()) world.crash(host, 500 + (seed % 10) * 200)
      world.timeline.runUntil(world.timeline.nowMs + 20_000)
      expect(world.checker.starts).toBe(1)
      expect(world.checker.holderOf(slot)).toHaveLength(1)
    }
  })

  it('when a minority of the voters loses its power, and when one after the other does', () => {
    for (const seed of seeds) {
      const world = running(seed, names)
      for (const [first, second] of [
        [n1, n3],
        [n4, n5],
      ] as const) {
        world.powerOff(world.host(first), 3_000, false)
        world.powerOff(world.host(second), 8_000, false)
        // Their silence is over before the next two go.
        world.timeline.runUntil(world.timeline.nowMs + 22_000)
      }
      expect(world.checker.starts).toBe(1)
    }
  })

  it('not when its agent is paused, or its host cut off, beyond its deadline', () => {
    for (const seed of seeds) {
      const world = running(seed, names)
      if (seed % 2 === 0) world.pause(world.host(n2), 40_000)
      else isolate(world, [n2])
      world.timeline.runUntil(world.timeline.nowMs + Math.ceil(times.leaseMs / 0.95) + 2_000)
      expect(world.checker.holderOf(slot)).toEqual([])
    }
  })
})
