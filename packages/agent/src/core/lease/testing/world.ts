import type { NodeId } from '@moot/crdt-state'
import type { Dice } from '../../placement/law.random.ts'
import { founderEpoch } from '../epoch.ts'
import {
  type LeaseEffects,
  leaseStep,
  nextLeaseAtMs,
  startMember,
  type LeaseInput,
  type LeaseMember,
} from '../member.ts'
import type { Envelope, SlotKey } from '../messages.ts'
import { freshDurable, noneKept } from '../voter.ts'
import { ExclusivityChecker, type RunningTask } from './checker.ts'
import type { Host, Tamper, WorldSettings } from './host.ts'
import { HostClock, Timeline } from './timeline.ts'

/** Hosts with clocks, disks, watchdogs and tasks, and a network between them, under true time. */
export class World {
  readonly timeline = new Timeline()
  readonly checker = new ExclusivityChecker()
  readonly hosts = new Map<NodeId, Host>()
  /** `from to` of links that carry nothing. */
  readonly cut = new Set<string>()
  /** `from to` of links that take so long. */
  readonly slow = new Map<string, number>()
  lossPercent = 0
  latePercent = 0
  slowDisksPercent = 0
  readonly #dice: Dice
  readonly #settings: WorldSettings
  readonly #tamper: Tamper

  constructor(dice: Dice, names: readonly NodeId[], settings: WorldSettings, tamper: Tamper = {}) {
    this.#dice = dice
    this.#settings = settings
    this.#tamper = tamper
    for (const [index, id] of names.entries()) this.hosts.set(id, this.#host(id, index === 0))
    for (const host of this.hosts.values()) {
      this.#boot(host)
      this.#gossip(host)
    }
  }

  #host(id: NodeId, isFounder: boolean): Host {
    const seat = { node: id, disk: `${id}-1` }
    return {
      id,
      clock: new HostClock(
        this.#dice.roll(1_000_000),
        0.95 + this.#dice.pick([0, 0, 0.1, 0.1, this.#dice.roll(100) / 1_000]),
      ),
      member: undefined,
      durable: freshDurable(seat.disk, isFounder ? founderEpoch(seat) : undefined),
      kept: noneKept,
      life: 0,
      boot: 0,
      wake: 0,
      isPaused: false,
      isWriting: false,
      backlog: [],
      wants: new Set(),
      loosened: new Set(),
      tasks: new Map(),
      starting: new Set(),
      stopping: new Set(),
      watched: new Map(),
    }
  }

  host(id: NodeId): Host {
    const host = this.hosts.get(id)
    if (host === undefined) throw new Error(`no host ${id}`)
    return host
  }

  localMs(host: Host): number {
    return host.clock.at(this.timeline.nowMs)
  }

  // ---- The agent's process

  #boot(host: Host): void {
    host.life += 1
    const nowMs = this.localMs(host)
    const same = <Value>(value: Value): Value => value
    const { voterTimes = same, start = same, disk = same } = this.#tamper
    const { durable, kept, life } = host
    const { times } = this.#settings
    const member = startMember({ self: host.id, durable: disk(durable), kept, life, times }, nowMs)
    host.member = start({ ...member, voter: { ...member.voter, times: voterTimes(times) } }, nowMs)
    for (const [slot, watched] of host.watched) {
      const task = host.tasks.get(slot)
      if (task?.fence === watched.fence)
        this.input(host, { kind: 'adopt', slot, wanted: this.#wanted(host, slot), ...watched })
      else host.watched.delete(slot)
    }
    for (const slot of host.wants) this.#want(host, slot)
    this.input(host, { kind: 'tick' })
  }

  input(host: Host, input: LeaseInput): void {
    if (host.member === undefined) return
    if (host.isPaused || host.isWriting) {
      if (input.kind !== 'tick') host.backlog.push(input)
      return
    }
    if (input.kind === 'drop' && this.#isInUse(host, input.slot)) return
    const nowMs = this.localMs(host)
    const { received = (message) => message, step: around } = this.#tamper
    const taken = input.kind === 'message' ? { ...input, message: received(input.message, nowMs) } : input
    const next = (member: LeaseMember): LeaseEffects =>
      leaseStep(member, taken, nowMs, this.#dice.roll(2 ** 31))
    const effects = around === undefined ? next(host.member) : around(host.member, taken, nowMs, next)
    const { epoch } = effects.member.voter.durable
    if (epoch !== host.member.voter.durable.epoch) this.checker.learnt(epoch, this.timeline.nowMs)
    host.member = effects.member
    this.#follow(host)
    if (effects.persist === undefined && effects.keep === undefined)
      return this.#finish(host, effects.messages)
    const { life } = host
    host.isWriting = true
    const isSlow = this.#dice.roll(100) < this.slowDisksPercent
    this.timeline.after(this.#dice.roll(isSlow ? 2_000 : 8), () => {
      if (host.life !== life) return
      if (effects.persist !== undefined) host.durable = effects.persist
      if (effects.keep !== undefined) host.kept = effects.keep
      host.isWriting = false
      this.#finish(host, effects.messages)
    })
  }

  #finish(host: Host, messages: readonly Envelope[]): void {
    for (const envelope of messages) this.#send(host.id, envelope)
    this.#goOn(host)
    this.#sleep(host)
  }

  #goOn(host: Host): void {
    while (!host.isPaused && !host.isWriting && host.member !== undefined) {
      const next = host.backlog.shift()
      if (next === undefined) return
      this.input(host, next)
    }
  }

  #sleep(host: Host): void {
    if (host.member === undefined) return
    const wake = ++host.wake
    const wakeAtMs = Math.min(host.clock.when(nextLeaseAtMs(host.member)), this.timeline.nowMs + 60_000)
    this.timeline.at(Math.max(wakeAtMs, this.timeline.nowMs + 1), () => {
      if (host.wake === wake) this.input(host, { kind: 'tick' })
    })
  }

  pause(host: Host, forMs: number): void {
    if (host.isPaused) return
    host.isPaused = true
    this.timeline.after(forMs, () => {
      host.isPaused = false
      this.#goOn(host)
      this.input(host, { kind: 'tick' })
    })
  }

  /** The agent's process dies, in the middle of a write perhaps, and is started again. */
  crash(host: Host, backAfterMs: number): void {
    if (host.member === undefined) return
    host.life += 1
    host.member = undefined
    host.isWriting = false
    host.backlog.length = 0
    const { life } = host
    this.timeline.after(backAfterMs, () => {
      if (host.member === undefined && host.life === life) this.#boot(host)
    })
  }

  /** With all that ran on it. */
  powerOff(host: Host, backAfterMs: number, losesDisk: boolean): void {
    if (host.member === undefined) return
    this.crash(host, backAfterMs)
    host.boot += 1
    host.kept = undefined
    host.watched.clear()
    host.starting.clear()
    host.stopping.clear()
    for (const task of host.tasks.values()) this.checker.ended(task)
    host.tasks.clear()
    host.clock.restart(this.timeline.nowMs, this.#dice.roll(1_000_000))
    if (!losesDisk) return
    const { newDisk = (before: string) => `${before}+` } = this.#tamper
    host.durable = freshDurable(newDisk(host.durable.disk))
    host.kept = noneKept
  }

  // ---- The network

  #send(from: NodeId, { to, message }: Envelope): void {
    const { sent = (message) => message } = this.#tamper
    const dice = this.#dice
    const copies = from !== to && dice.roll(100) < 3 ? 2 : 1
    for (let copy = 0; copy < copies; copy += 1) {
      if (from !== to && (this.cut.has(`${from} ${to}`) || dice.roll(100) < this.lossPercent)) continue
      const delayMs = from === to ? 0 : this.#delayMs() + (this.slow.get(`${from} ${to}`) ?? 0)
      this.timeline.after(delayMs, () =>
        this.input(this.host(to), { kind: 'message', from, message: sent(message) }),
      )
    }
  }

  #delayMs(): number {
    const dice = this.#dice
    if (dice.roll(100) < this.latePercent) return dice.roll(dice.pick([300, 3_000, 30_000]))
    return 1 + dice.roll(15)
  }

  /** Records tell who votes. */
  #gossip(host: Host): void {
    this.timeline.after(1_000 + this.#dice.roll(2_000), () => {
      const to = this.#dice.pick([...this.hosts.keys()])
      const epoch = host.durable.epoch.number
      if (host.member !== undefined && !host.isPaused && to !== host.id)
        this.#send(host.id, { to, message: { kind: 'know', epoch } })
      this.#gossip(host)
    })
  }

  // ---- What the agent does about its leases

  setWants(slot: SlotKey, wanting: ReadonlySet<NodeId>): void {
    for (const host of this.hosts.values()) {
      if (wanting.has(host.id)) {
        host.wants.add(slot)
        this.#want(host, slot)
      } else if (host.wants.delete(slot)) this.#letGo(host, slot)
    }
  }

  loosen(host: Host, slot: SlotKey): void {
    host.loosened.add(slot)
    const task = host.tasks.get(slot)
    if (task !== undefined) task.knowsLoosened = true
    if (host.wants.has(slot)) this.#want(host, slot)
  }

  setRate(host: Host, rate: number): void {
    host.clock.setRate(this.timeline.nowMs, rate)
    for (const slot of host.watched.keys()) this.#guard(host, slot)
    this.#sleep(host)
  }

  #wanted(host: Host, slot: SlotKey): { readonly term: number; readonly as: 'exclusive' | 'loosening' } {
    return host.loosened.has(slot) ? { term: 2, as: 'loosening' } : { term: 1, as: 'exclusive' }
  }

  #want(host: Host, slot: SlotKey): void {
    // What is left of the process before is adopted, or is being killed.
    const isNew = host.member?.holder.slots.has(slot) !== true
    if (isNew && host.tasks.has(slot)) return
    this.input(host, { kind: 'want', slot, wanted: this.#wanted(host, slot) })
  }

  /** The agent acts on what its leases allow: it arms the watchdog, starts, stops, and gives back. */
  #follow(host: Host): void {
    for (const [slot, state] of host.member?.holder.slots ?? []) {
      if (state.kind === 'held') {
        if (state.deadlineMs <= this.localMs(host)) continue
        const watched = host.watched.get(slot)
        if (watched?.fence === state.fence)
          watched.deadlineMs = Math.max(watched.deadlineMs, state.deadlineMs)
        else if (watched === undefined && !host.tasks.has(slot))
          host.watched.set(slot, { fence: state.fence, deadlineMs: state.deadlineMs })
        else continue
        this.#guard(host, slot)
        this.#start(host, slot, state.fence)
      } else if (state.kind === 'loosened') {
        host.watched.delete(slot)
        const task = host.tasks.get(slot)
        if (task !== undefined && !task.isLoose) {
          task.isLoose = true
          this.checker.look(task, this.timeline.nowMs)
        }
        this.#start(host, slot, undefined)
      }
    }
    for (const slot of host.member?.holder.slots.keys() ?? [])
      if (!host.wants.has(slot)) this.#letGo(host, slot)
  }

  /** @param fence undefined: without a lease. */
  #start(host: Host, slot: SlotKey, fence: number | undefined): void {
    if (!host.wants.has(slot) || host.tasks.has(slot) || host.starting.has(slot)) return
    const { boot } = host
    host.starting.add(slot)
    this.timeline.after(20 + this.#dice.roll(this.#dice.once(20) ? 8_000 : 300), () => {
      if (host.boot !== boot) return
      host.starting.delete(slot)
      const watched = host.watched.get(slot)
      const isAllowed =
        fence === undefined
          ? !host.watched.has(slot)
          : watched?.fence === fence && watched.deadlineMs > this.localMs(host)
      if (host.tasks.has(slot) || !isAllowed) return
      const task = {
        slot,
        node: host.id,
        fence: fence ?? 0,
        isLoose: fence === undefined,
        knowsLoosened: host.loosened.has(slot),
      }
      host.tasks.set(slot, task)
      this.checker.started(task, this.timeline.nowMs)
    })
  }

  #letGo(host: Host, slot: SlotKey): void {
    const task = host.tasks.get(slot)
    const state = host.member?.holder.slots.get(slot)
    if (state === undefined || state.kind === 'releasing' || host.stopping.has(slot)) return
    if (task === undefined && !host.starting.has(slot)) {
      host.watched.delete(slot)
      // Not at once: this may be in the middle of a step.
      const { life } = host
      this.timeline.after(0, () => {
        if (host.life === life && !this.#isInUse(host, slot)) this.input(host, { kind: 'drop', slot })
      })
      return
    }
    host.stopping.add(slot)
    const { boot } = host
    this.timeline.after(this.#dice.roll(2_000), () => {
      if (host.boot !== boot) return
      host.stopping.delete(slot)
      if (host.wants.has(slot)) return
      const running = host.tasks.get(slot)
      if (running !== undefined) this.#end(host, running)
      this.#letGo(host, slot)
    })
  }

  #isInUse(host: Host, slot: SlotKey): boolean {
    return host.tasks.has(slot) || host.starting.has(slot) || host.wants.has(slot)
  }

  #end(host: Host, task: RunningTask): void {
    if (host.tasks.get(task.slot) !== task) return
    host.tasks.delete(task.slot)
    this.checker.ended(task)
    const { life } = host
    this.timeline.after(1, () => {
      if (host.life !== life) return
      this.#follow(host)
      if (host.wants.has(task.slot)) this.#want(host, task.slot)
    })
  }

  /** The watchdog: when the deadline is there, there is no way back. */
  #guard(host: Host, slot: SlotKey): void {
    const { boot } = host
    const watched = host.watched.get(slot)
    if (watched === undefined) return
    this.timeline.at(host.clock.when(watched.deadlineMs), () => {
      if (host.boot !== boot || host.watched.get(slot) !== watched || watched.deadlineMs > this.localMs(host))
        return
      host.watched.delete(slot)
      const task = host.tasks.get(slot)
      const { watchdogMs, killMs } = this.#settings
      const takesMs = this.#dice.once(2) ? watchdogMs + killMs : this.#dice.roll(watchdogMs + killMs + 1)
      if (task !== undefined)
        this.timeline.after(takesMs, () => {
          if (host.boot === boot) this.#end(host, task)
        })
    })
  }
}
