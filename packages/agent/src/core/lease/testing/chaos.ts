import type { NodeId } from '@moot/crdt-state'
import { defaults } from '../../../defaults.ts'
import { Dice } from '../../placement/law.random.ts'
import { votes } from '../voter.ts'
import { majorityOf, unknownEpoch } from '../epoch.ts'
import type { Seat, SlotKey } from '../messages.ts'
import { leaseTimes } from '../times.ts'
import type { Host, Tamper } from './host.ts'
import { World } from './world.ts'

export const times = leaseTimes(defaults)
export const physics = { times, watchdogMs: defaults.leaseWatchdogMs, killMs: defaults.leaseKillMs }

export interface Outcome {
  /** A majority of the voters was in reach in the end, so that every slot had to be held. */
  readonly isServed: boolean
  readonly violations: readonly string[]
  readonly starts: number
  readonly moves: number
  readonly epochs: number
}

type Cut = 'none' | 'clean' | 'alone' | 'one way' | 'bridge' | 'links' | 'slow'

/** What happens, and how often on average. */
interface Profile {
  readonly cuts: readonly Cut[]
  readonly cutEveryMs: readonly number[]
  readonly stumbles: readonly ('pause' | 'crash' | 'power off')[]
  readonly stumbleEveryMs: readonly number[]
  readonly votersEveryMs: number
  /** How many nodes believe at once that they are to run a slot. */
  readonly wanting: readonly number[]
}

const profiles = {
  /** A bit of everything. */
  mixed: {
    cuts: ['none', 'clean', 'clean', 'alone', 'one way', 'bridge', 'bridge', 'links', 'slow'],
    cutEveryMs: [4_000, 15_000],
    stumbles: ['pause', 'crash', 'power off', 'power off'],
    stumbleEveryMs: [2_000, 8_000],
    votersEveryMs: 30_000,
    wanting: [0, 1, 1, 1, 2, 2, 3],
  },
  /** One proposal of new voters after the other, cut off and killed in the middle. */
  voters: {
    cuts: ['none', 'clean', 'clean', 'bridge', 'links'],
    cutEveryMs: [4_000, 15_000],
    stumbles: ['crash'],
    stumbleEveryMs: [4_000, 15_000],
    votersEveryMs: 3_000,
    wanting: [1, 2, 2],
  },
  /** Answers that come late, and then none. */
  slow: {
    cuts: ['slow', 'alone'],
    cutEveryMs: [4_000, 8_000],
    stumbles: ['pause'],
    stumbleEveryMs: [30_000],
    votersEveryMs: 60_000,
    wanting: [2, 3],
  },
} as const satisfies Readonly<Record<string, Profile>>

export type ProfileName = keyof typeof profiles

const slots = ['db.1', 'cron.1'] as SlotKey[]
const chaosMs = 100_000
/** An old promise to be finished by the next voter in line, silence or hold, a look, a try, a start, a stop of what ran before. */
const calmMs = Math.ceil((times.movesWithinMs * 2 + 5 * times.tryMs * 8 + 10_000) / 0.95)

/** One run: faults for a while, then a calm in which each slot must be held where it is wanted. */
export function play(seed: number, profile: ProfileName, tamper: Tamper = {}): Outcome {
  const dice = new Dice(seed)
  const names = Array.from({ length: 3 + dice.roll(5) }, (_, index) => `n${index + 1}` as NodeId)
  const world = new World(dice, names, physics, tamper)
  world.lossPercent = dice.pick([0, 2, 10, 30])
  world.latePercent = dice.pick([0, 2, 10])
  world.slowDisksPercent = dice.pick([0, 0, 10])
  const chaos = new Chaos(world, dice, names, profiles[profile])
  chaos.begin()
  world.timeline.runUntil(chaosMs)
  chaos.calm()
  world.timeline.runUntil(chaosMs + calmMs)
  const { violations, starts, moves } = world.checker
  const unserved = chaos.unserved()
  return {
    violations: [...violations, ...unserved],
    isServed: chaos.isServed,
    starts,
    moves,
    epochs: Math.max(...[...world.hosts.values()].map(({ durable }) => durable.epoch.number)),
  }
}

class Chaos {
  readonly #world: World
  readonly #dice: Dice
  readonly #names: readonly NodeId[]
  readonly #profile: Profile
  /** Out of reach in the calm. */
  readonly #apart = new Set<NodeId>()
  #isOver = false
  #disksToLose = 1
  /** The calm has proved something. */
  isServed = false
  #wanting = new Map<SlotKey, NodeId>()

  constructor(world: World, dice: Dice, names: readonly NodeId[], profile: Profile) {
    this.#world = world
    this.#profile = profile
    this.#dice = dice
    this.#names = names
  }

  begin(): void {
    for (const slot of slots) this.#place(slot)
    // Most runs begin with more voters than the founder.
    if (!this.#dice.once(6)) this.#later(3_000, () => this.#propose(this.#world.host('n1' as NodeId)))
    const { cutEveryMs, stumbleEveryMs, votersEveryMs } = this.#profile
    this.#again(this.#dice.pick(cutEveryMs), () => this.#cut())
    this.#again(this.#dice.pick(stumbleEveryMs), () => this.#stumble())
    this.#again(8_000, () => this.#replace())
    this.#again(votersEveryMs, () => this.#changeVoters())
    this.#again(40_000, () => this.#world.setRate(this.#host(), 0.95 + this.#dice.pick([0, 0.1])))
    if (this.#dice.once(4)) this.#later(chaosMs, () => this.#loosen())
  }

  #later(withinMs: number, act: () => void): void {
    this.#world.timeline.after(this.#dice.roll(withinMs), () => {
      if (!this.#isOver) act()
    })
  }

  #again(everyMs: number, act: () => void): void {
    this.#later(2 * everyMs, () => {
      act()
      this.#again(everyMs, act)
    })
  }

  /** Half of the time one that matters: a voter, or one that runs a slot. */
  #host(): Host {
    const all = [...this.#world.hosts.values()]
    const holders = all.filter(({ tasks }) => tasks.size > 0)
    const voters = all.filter(({ member }) => member !== undefined && votes(member.voter))
    return this.#dice.pick(this.#dice.pick([all, all, holders, voters].filter(({ length }) => length > 0)))
  }

  /** Where a slot is to run: views differ, so sometimes two nodes or none believe it is theirs. */
  #place(slot: SlotKey): void {
    const wanting = new Set<NodeId>()
    for (let count = this.#dice.pick(this.#profile.wanting); count > 0; count -= 1)
      wanting.add(this.#dice.pick(this.#names))
    this.#world.setWants(slot, wanting)
  }

  #replace(): void {
    this.#place(this.#dice.pick(slots))
  }

  /** A partition, clean, one way, with a bridge, or of single links; the one before is over. */
  #cut(): void {
    const { cut, slow } = this.#world
    cut.clear()
    slow.clear()
    const isHere = new Map(this.#names.map((name) => [name, this.#dice.once(2)]))
    const bridge = this.#host().id
    const kind = this.#dice.pick<Cut>(this.#profile.cuts)
    for (const a of this.#names) {
      for (const b of this.#names) {
        const isApart = isHere.get(a) !== isHere.get(b)
        const isOnBridge = a === bridge || b === bridge
        const isCut =
          (kind === 'clean' && isApart) ||
          (kind === 'alone' && isOnBridge && a !== b) ||
          (kind === 'one way' && isApart && isHere.get(a) === true) ||
          (kind === 'bridge' && isApart && !isOnBridge) ||
          (kind === 'links' && this.#dice.once(3))
        if (isCut) cut.add(`${a} ${b}`)
        if (kind === 'slow' && (b === bridge || this.#dice.once(6)))
          slow.set(`${a} ${b}`, this.#dice.roll(8_000))
      }
    }
  }

  #stumble(): void {
    const host = this.#host()
    switch (this.#dice.pick(this.#profile.stumbles)) {
      case 'pause':
        return this.#world.pause(host, this.#dice.roll(this.#dice.pick([500, 5_000, 30_000])))
      case 'crash':
        return this.#world.crash(host, 50 + this.#dice.roll(this.#dice.pick([200, 5_000])))
      case 'power off': {
        const losesDisk = this.#disksToLose > 0 && this.#dice.once(20)
        if (losesDisk) this.#disksToLose -= 1
        return this.#world.powerOff(host, 500 + this.#dice.roll(this.#dice.pick([500, 10_000])), losesDisk)
      }
    }
  }

  #changeVoters(): void {
    for (let count = this.#dice.pick([1, 1, 2]); count > 0; count -= 1) this.#propose(this.#host())
    // In the middle of it, the worst moment.
    const within = this.#dice.pick([100, 100, 3_000])
    if (this.#dice.once(3)) this.#later(within, () => this.#cut())
    if (this.#dice.once(3)) this.#later(within, () => this.#stumble())
    if (this.#dice.once(3)) this.#later(within, () => this.#propose(this.#host()))
  }

  #propose(by: Host): void {
    const count = this.#dice.pick([1, 3, 3, 5].filter((size) => size <= this.#names.length))
    const voters = this.#dice
      .shuffled(this.#names)
      .slice(0, count)
      .map((node): Seat => ({ node, disk: this.#world.host(node).durable.disk }))
    this.#world.input(by, { kind: 'propose', voters })
  }

  #loosen(): void {
    const slot = this.#dice.pick(slots)
    for (const name of this.#names) {
      if (this.#dice.once(3)) continue
      this.#later(this.#dice.pick([10, 40_000]), () => this.#world.loosen(this.#world.host(name), slot))
    }
  }

  /** Nothing is broken any more, but that some hosts may be out of reach for all others. */
  calm(): void {
    this.#isOver = true
    const world = this.#world
    world.cut.clear()
    world.slow.clear()
    world.lossPercent = 0
    world.latePercent = 0
    if (this.#dice.once(2)) {
      for (const name of this.#names.slice(1)) if (this.#dice.once(3)) this.#apart.add(name)
      for (const a of this.#names)
        for (const b of this.#names)
          if (a !== b && (this.#apart.has(a) || this.#apart.has(b))) world.cut.add(`${a} ${b}`)
    }
    world.slowDisksPercent = 0
    for (const slot of slots) {
      const isLoosened = [...world.hosts.values()].some(({ loosened }) => loosened.has(slot))
      if (isLoosened) for (const host of world.hosts.values()) world.loosen(host, slot)
      const wanting = this.#dice.pick(this.#names.filter((name) => !this.#apart.has(name)))
      this.#wanting.set(slot, wanting)
      world.setWants(slot, new Set([wanting]))
    }
  }

  /** After a while of calm, if those in reach of each other know who votes, and are a majority of it with their disks. */
  unserved(): readonly string[] {
    const world = this.#world
    const epochs = [...world.hosts.values()].map(({ id, durable }) => ({ id, epoch: durable.epoch }))
    const newest = epochs.reduce(
      (best, { epoch }) => (epoch.number > best.number ? epoch : best),
      unknownEpoch,
    )
    const voting = newest.voters.filter(
      ({ node, disk }) => !this.#apart.has(node) && world.host(node).durable.disk === disk,
    )
    const isKnown = epochs.some(({ id, epoch }) => !this.#apart.has(id) && epoch.number === newest.number)
    if (!isKnown || voting.length < majorityOf(newest)) return []
    this.isServed = true
    return slots.flatMap((slot) => {
      const wanting = this.#wanting.get(slot)
      const running = this.#world.checker.holderOf(slot)
      if (running.some(({ node }) => node === wanting)) return []
      const host = wanting && this.#world.host(wanting)
      return [
        `${slot} does not run on ${wanting}, where it is wanted: ${JSON.stringify(host?.member?.holder.slots.get(slot))}; voters ${voting.map(({ node }) => node).join()}`,
      ]
    })
  }
}
