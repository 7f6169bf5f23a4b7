import type { NodeId, NodeStatus } from '@moot/crdt-state'
import { forcedEpoch, generationOf, isVoter } from '../core/lease/epoch.ts'
import type { Epoch, Seat } from '../core/lease/messages.ts'
import {
  successorsOf,
  type VoterCandidate,
  voterChange,
  type VoterHealth,
  voterHealth,
} from '../core/lease/voter-set.ts'
import { isUp, type LivenessMap } from '../core/membership/liveness.ts'
import type { View } from '../core/view.ts'
import type { Defaults } from '../defaults.ts'
import type { Clock } from '../ports/clock.ts'
import { NoVoterError, NewerVotersError } from './errors.ts'
import type { LeaseRunner } from './lease-runner.ts'

/** Keeps the set of voters as it should be, and knows how it is. */
export interface VoterKeeper {
  epoch(): Epoch
  /** For this node's record. */
  seat(): NonNullable<NodeStatus['seat']>
  candidates(): readonly VoterCandidate[]
  health(nameOf: (node: NodeId) => string): VoterHealth
  /** DANGEROUS, at a person's word: `forcedEpoch`. Resolves with it once it is in force here. */
  force(nodes: readonly NodeId[]): Promise<Epoch>
  /** This node is about to leave: others vote from now on. Resolves when they do; rejects with the signal's reason. */
  handOver(signal: AbortSignal): Promise<void>
  /** Would no majority of the present voters be left, were this node to go now? */
  isLostWithoutSelf(): boolean
  /** The runner has changed. */
  follow(): void
  start(): void
  stop(): void
}

export function createVoterKeeper(options: {
  readonly self: NodeId
  readonly view: () => View
  readonly liveness: () => LivenessMap
  readonly runner: Pick<LeaseRunner, 'member' | 'input'>
  readonly clock: Clock
  readonly settings: Defaults
  /** This node knows another epoch. */
  readonly changed: () => void
}): VoterKeeper {
  const { self, view, runner, clock, settings } = options
  /** Since when each member is up, or away, as far as this process has seen. */
  const standing = new Map<NodeId, { readonly isUp: boolean; readonly sinceMs: number }>()
  let need: { readonly voters: string; readonly sinceMs: number } | undefined
  let cancelLook: () => void = () => undefined
  let known = epoch().number
  const waiting = new Set<() => void>()

  function epoch(): Epoch {
    return runner.member().voter.durable.epoch
  }

  function lookAtMembers(): void {
    const nowMs = clock.monotonicMs()
    const { nodes } = view()
    const liveness = options.liveness()
    for (const node of standing.keys()) if (!nodes.has(node)) standing.delete(node)
    for (const node of nodes.keys()) {
      const isUpNow = node === self || isUp(liveness.get(node))
      if (standing.get(node)?.isUp !== isUpNow) standing.set(node, { isUp: isUpNow, sinceMs: nowMs })
    }
  }

  function candidates(): readonly VoterCandidate[] {
    lookAtMembers()
    const nowMs = clock.monotonicMs()
    const { nodes, records } = view()
    return [...nodes.values()].map(({ name, spec }) => {
      const node = name as NodeId
      const { isUp = false, sinceMs = nowMs } = standing.get(node) ?? {}
      // Its own record may not say it yet, or not any more.
      const disk = node === self ? seat().disk : records.get(node)?.status?.seat?.disk
      return { node, disk, isUp, forMs: nowMs - sinceMs, isActive: spec.Availability === 'active' }
    })
  }

  function seat(): NonNullable<NodeStatus['seat']> {
    const { durable } = runner.member().voter
    return { disk: durable.disk, epoch: durable.epoch.number }
  }

  function look(): void {
    cancelLook = clock.after(settings.voterLookMs, look)
    fetchNewer()
    const change = voterChange(epoch(), candidates(), self, settings)
    if (change === undefined) {
      need = undefined
      return
    }
    const nowMs = clock.monotonicMs()
    const voters = change.voters.map(({ node, disk }) => `${node} ${disk}`).join()
    if (need?.voters !== voters) need = { voters, sinceMs: nowMs }
    if (nowMs - need.sinceMs < change.afterMs) return
    // Should nothing come of it, the next one in line has its turn first.
    need = { voters, sinceMs: nowMs }
    propose(change.voters)
  }

  function propose(voters: readonly Seat[]): void {
    // What cannot be written is tried again with the next look.
    runner.input({ kind: 'propose', voters }).catch(() => undefined)
  }

  /** Records say who knows a newer epoch than this node. */
  function fetchNewer(): void {
    const { records } = view()
    let best: { readonly from: NodeId; readonly epoch: number } | undefined
    for (const [from, { status }] of records) {
      const number = status?.seat?.epoch ?? 0
      const isUp = standing.get(from)?.isUp === true
      if (from !== self && isUp && number > Math.max(epoch().number, best?.epoch ?? 0))
        best = { from, epoch: number }
    }
    if (best === undefined) return
    runner
      .input({ kind: 'message', from: best.from, message: { kind: 'know', epoch: best.epoch } })
      .catch(() => undefined)
  }

  async function decided(above: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const check = (): void => {
      if (epoch().number > above) resolve()
    }
    const abort = (): void => reject(signal.reason as Error)
    waiting.add(check)
    signal.addEventListener('abort', abort, { once: true })
    check()
    try {
      await promise
    } finally {
      waiting.delete(check)
      signal.removeEventListener('abort', abort)
    }
  }

  return {
    epoch,
    seat,
    candidates,
    health: (nameOf) => voterHealth(epoch(), candidates(), nameOf),
    async force(nodes) {
      const { records } = view()
      const newest = Math.max(...[...records.values()].map(({ status }) => status?.seat?.epoch ?? 0))
      // Else it would be no higher than what others know already.
      if (generationOf({ number: newest }) > generationOf(epoch())) throw new NewerVotersError()
      const all = candidates()
      const seats = nodes.map((node) => {
        const disk = all.find((candidate) => candidate.node === node)?.disk
        if (disk === undefined) throw new NoVoterError(node)
        return { node, disk }
      })
      const forced = forcedEpoch(epoch(), seats, self)
      await runner.input({ kind: 'force', epoch: forced })
      return forced
    },
    async handOver(signal) {
      const before = epoch()
      if (!isVoter(before, self)) return
      const voters = successorsOf(before, candidates(), self)
      if (voters.length === 0) return
      propose(voters)
      await decided(before.number, signal)
    },
    isLostWithoutSelf() {
      const others = candidates().filter(({ node }) => node !== self)
      return voterHealth(epoch(), others, String).kind === 'lost'
    },
    follow() {
      const now = epoch().number
      if (now === known) return
      known = now
      for (const check of waiting) check()
      options.changed()
    },
    start: look,
    stop: () => cancelLook(),
  }
}
