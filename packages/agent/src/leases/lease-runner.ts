import type { NodeId } from '@moot/crdt-state'
import type { Logger } from 'pino'
import {
  type LeaseEffects,
  type LeaseInput,
  type LeaseMember,
  leaseStep,
  nextLeaseAtMs,
  startMember,
} from '../core/lease/member.ts'
import type { Envelope, LeaseMessage } from '../core/lease/messages.ts'
import { leaseTimes } from '../core/lease/times.ts'
import { keptOf, votes } from '../core/lease/voter.ts'
import type { Defaults } from '../defaults.ts'
import type { Clock } from '../ports/clock.ts'
import type { Mesh } from '../ports/mesh.ts'
import type { LeaseDisk } from './lease-disk.ts'
import { createLeasePost } from './lease-post.ts'

/** Drives one node's part in leases: inputs one after the other, what they change onto the disk, then what they say. */
export interface LeaseRunner {
  /** As far as the disk has it. */
  member(): LeaseMember
  nowMs(): number
  /** Resolves when what follows from it is in force and on its way; rejects when the disk did not take it. */
  input(input: LeaseInput): Promise<void>
  counters(): { readonly lost: number; readonly refused: number }
  start(): void
  stop(): Promise<void>
}

interface Waiting {
  readonly input: LeaseInput
  /** Undefined: a message from another node, which is asked again if nothing came of it. */
  readonly done: PromiseWithResolvers<void> | undefined
  readonly from: NodeId | undefined
}

/** Inputs that share one write: what comes while the disk is busy waits for the next. */
const batchMax = 256

export async function createLeaseRunner(options: {
  readonly self: NodeId
  readonly life: number
  readonly disk: LeaseDisk
  readonly mesh: Mesh
  readonly clock: Clock
  readonly settings: Defaults
  readonly logger: Logger
  readonly isMember: (node: NodeId) => boolean
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Told after each change of `member()`. */
  readonly changed: () => void
}): Promise<LeaseRunner> {
  const { self, disk, clock, settings, logger } = options
  const times = leaseTimes(settings)
  const { durable, kept } = await disk.open()
  let member = startMember({ self, durable, kept, life: options.life, times }, clock.bootMs())
  /** What would be read after a crash is known to be all. */
  let isKeptComplete = kept?.isComplete === true
  const queue: Waiting[] = []
  const queuedOf = new Map<NodeId, number>()
  let running: Promise<void> | undefined
  let cancelTick: () => void = () => undefined
  let hasFailed = false
  let isStarted = false
  const stopping = new AbortController()
  const isStopped = (): boolean => stopping.signal.aborted

  const post = createLeasePost({
    mesh: options.mesh,
    clock,
    settings,
    member: options.isMember,
    receive: (from, messages) => messages.filter((message) => hear(from, message)).length,
  })

  function hear(from: NodeId, message: LeaseMessage): boolean {
    const queued = queuedOf.get(from) ?? 0
    if (queued >= settings.leaseQueueMax || isStopped()) return false
    queuedOf.set(from, queued + 1)
    queue.push({ input: { kind: 'message', from, message }, done: undefined, from })
    run()
    return true
  }

  function input(next: LeaseInput): Promise<void> {
    const done = Promise.withResolvers<void>()
    if (isStopped()) done.reject(new Error('the agent stops'))
    else queue.push({ input: next, done, from: undefined })
    run()
    return done.promise
  }

  function run(): void {
    if (running !== undefined || isStopped() || !isStarted) return
    // Not at once: the caller may be in the middle of telling several things.
    running = Promise.resolve()
      .then(work)
      .finally(() => {
        running = undefined
        if (queue.length > 0) run()
      })
  }

  async function work(): Promise<void> {
    while (queue.length > 0 && !isStopped()) {
      const batch = queue.splice(0, batchMax)
      for (const { from } of batch) {
        if (from === undefined) continue
        const left = (queuedOf.get(from) ?? 1) - 1
        if (left === 0) queuedOf.delete(from)
        else queuedOf.set(from, left)
      }
      await take(batch)
    }
    if (!isStopped()) sleep()
  }

  /**
   * If the disk does not take it, nothing of it has happened: the member stays as it was, and nothing is sent. The disk may
   * have more of it than that, which a later start only takes for more that it is bound to.
   */
  async function take(batch: readonly Waiting[]): Promise<void> {
    const { after, messages } = stepAll(batch)
    try {
      await write(after)
    } catch (error) {
      if (!isStopped() && !hasFailed)
        logger.error({ err: error }, 'what was promised for leases cannot be written: nothing is promised')
      hasFailed = true
      for (const { done } of batch) done?.reject(error)
      return
    }
    hasFailed = false
    if (isStopped()) {
      for (const { done } of batch) done?.reject(new Error('the agent stops'))
      return
    }
    const before = member
    member = after.member
    post.send(messages.filter(({ to }) => to !== self))
    // Bounded by what others may send: each message here has at most one answer to itself.
    for (const { to, message } of messages)
      if (to === self)
        queue.push({ input: { kind: 'message', from: self, message }, done: undefined, from: undefined })
    for (const { done } of batch) done?.resolve()
    if (member !== before) options.changed()
  }

  function stepAll(batch: readonly Waiting[]): {
    readonly after: Pick<LeaseEffects, 'member' | 'persist' | 'keep'>
    readonly messages: readonly Envelope[]
  } {
    let after: Pick<LeaseEffects, 'member' | 'persist' | 'keep'> = {
      member,
      persist: undefined,
      keep: undefined,
    }
    const messages: Envelope[] = []
    for (const { input } of batch) {
      const roll = Math.floor(options.random() * 2 ** 31)
      const effects = leaseStep(after.member, input, clock.bootMs(), roll)
      messages.push(...effects.messages)
      after = {
        member: effects.member,
        persist: effects.persist ?? after.persist,
        keep: effects.keep ?? after.keep,
      }
    }
    return { after, messages }
  }

  async function write({
    member: { voter },
    persist,
    keep,
  }: Pick<LeaseEffects, 'member' | 'persist' | 'keep'>): Promise<void> {
    const nowMs = clock.bootMs()
    const isNewlyComplete = !isKeptComplete && votes(voter) && nowMs >= voter.silentUntilMs
    const kept = keep ?? (isNewlyComplete ? keptOf(voter, nowMs) : undefined)
    if (persist !== undefined) await disk.persist(persist)
    if (kept === undefined) return
    await disk.keep(kept, voter.durable)
    isKeptComplete = kept.isComplete
  }

  function sleep(): void {
    cancelTick()
    const nowMs = clock.bootMs()
    const { voter } = member
    const completeAtMs = isKeptComplete || !votes(voter) ? Infinity : Math.max(nowMs, voter.silentUntilMs)
    const atMs = Math.min(nextLeaseAtMs(member), completeAtMs)
    if (atMs === Infinity) return
    // After a failed write not at once again.
    const leastMs = hasFailed ? settings.leaseAskIntervalMs : 1
    cancelTick = clock.after(Math.max(leastMs, atMs - nowMs), () => {
      input({ kind: 'tick' }).catch(() => undefined)
    })
  }

  return {
    member: () => member,
    nowMs: () => clock.bootMs(),
    input,
    counters: () => post.counters(),
    start() {
      isStarted = true
      sleep()
      run()
    },
    async stop() {
      stopping.abort()
      cancelTick()
      await post.stop()
      await running
      for (const { done } of queue.splice(0)) done?.reject(new Error('the agent stops'))
    },
  }
}
