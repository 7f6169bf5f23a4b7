import type { Alert, NodeId } from '@moot/crdt-state'
import { type FlapSettings, onceMore } from './flaps.ts'
import { company, type IslandSettings, type Solitude, type WitnessWord } from './island.ts'
import { isInForce, type MembershipView } from './liveness.ts'
import { newWatch, timeoutOf, type Watch } from './watch.ts'

/** What a probe found, as the mesh port says it. A sign of life that was heard without asking took no time. */
export type ProbeOutcome =
  | { readonly kind: 'answered'; readonly roundTripMs?: number }
  | { readonly kind: 'refused' | 'silent' }
  /** It never got as far as the other node. */
  | { readonly kind: 'unasked' }

export interface DetectorSettings extends IslandSettings, FlapSettings {
  readonly observersPerNode: number
  readonly probeIntervalMs: number
  readonly probeTimeoutMinMs: number
  readonly probeTimeoutMaxMs: number
  readonly suspectAfterProbes: number
  readonly silentAfterMs: number
  readonly deafPatience: number
  readonly lossyShare: number
  readonly lossyPatience: number
  readonly agentDownGraceMs: number
  readonly bootSyncTimeoutMs: number
  readonly returnedKeepMs: number
  readonly probationAfterMs: number
  readonly probationMaxMs: number
  readonly alertRefreshFirstMs: number
  readonly alertRefreshMaxMs: number
}

/** `nowMs` is monotonic; `wallMs` is only shown to people. */
export interface Instant {
  readonly nowMs: number
  readonly wallMs: number
}
export type DetectorInput =
  | ({
      readonly kind: 'probe-result'
      readonly result: ProbeOutcome
      readonly sentAtMs: number
    } & Probe &
      Instant)
  | ({ readonly kind: 'tick' } & Instant)
  /** The mesh has a connection with it. */
  | ({ readonly kind: 'connected'; readonly node: NodeId } & Instant)
  | ({ readonly kind: 'witness'; readonly word: WitnessWord } & Instant)
  | ({ readonly kind: 'view'; readonly view: MembershipView } & Instant)

export interface DetectorState {
  readonly startedAtMs: number
  readonly lastTickMs: number | undefined
  /** Probes sent before this instant prove nothing by their silence: this agent itself was paused since. */
  readonly distrustedBeforeMs: number
  readonly view: MembershipView
  readonly targets: readonly NodeId[]
  readonly watches: ReadonlyMap<NodeId, Watch>
  readonly solitude: Solitude
  /** The alerts that this node's record holds once all changes so far are written. */
  readonly alerts: ReadonlyMap<NodeId, Alert>
}

/** Alerts to write (undefined: to withdraw), by target. */
export type AlertChanges = ReadonlyMap<NodeId, Alert | undefined>

/** To be sent now. */
export interface Probe {
  readonly target: NodeId
  readonly timeoutMs: number
}

export interface DetectorStep {
  readonly state: DetectorState
  readonly probe: readonly Probe[]
  /** Ask this node's own witness now. */
  readonly askWitness: boolean
  readonly changes: AlertChanges
}

export function startDetector(view: MembershipView, nowMs: number): DetectorState {
  return {
    startedAtMs: nowMs,
    lastTickMs: undefined,
    distrustedBeforeMs: nowMs,
    view,
    targets: [],
    watches: new Map(),
    solitude: company,
    // What this node said before it restarted still stands.
    alerts: new Map(view.records.get(view.self)?.alerts),
  }
}

/** A copy of the state that rules change one after the other; `finish` makes the next state of it. */
export class Draft {
  readonly before: DetectorState
  readonly settings: DetectorSettings
  readonly at: Instant
  readonly watches: Map<NodeId, Watch>
  readonly alerts: Map<NodeId, Alert>
  readonly changes = new Map<NodeId, Alert | undefined>()
  solitude: Solitude

  constructor(before: DetectorState, settings: DetectorSettings, at: Instant) {
    this.before = before
    this.settings = settings
    this.at = at
    this.watches = new Map(before.watches)
    this.alerts = new Map(before.alerts)
    this.solitude = before.solitude
  }
  watch(target: NodeId): Watch {
    return this.watches.get(target) ?? newWatch(this.settings)
  }
  update(target: NodeId, changes: Partial<Watch>): Watch {
    const watch = { ...this.watch(target), ...changes }
    this.watches.set(target, watch)
    return watch
  }
  /** Says `evidence` about the target's record as the view has it. */
  say(view: MembershipView, target: NodeId, evidence: Alert['evidence']): void {
    const record = view.records.get(target)
    if (record === undefined) return
    const { epoch, seq } = record
    const before = this.alerts.get(target)
    if (before?.evidence !== evidence) this.#note(target, evidence)
    const probation = before?.probation === true ? ({ probation: true } as const) : {}
    const sinceMs = before !== undefined && isInForce(before) ? before.sinceMs : this.at.wallMs
    this.put({ target, evidence, ...probation, epoch, seq, sinceMs })
  }
  /** What returns and flaps are judged by later; not when the same is said again of a newer record. */
  #note(target: NodeId, evidence: Alert['evidence']): void {
    const { nowMs } = this.at
    if (evidence === 'silent') this.update(target, { saidSilentAtMs: nowMs })
    if (evidence === 'refused')
      this.update(target, { refusals: onceMore(this.watch(target).refusals, nowMs, this.settings) })
  }
  put(alert: Alert): void {
    this.alerts.set(alert.target, alert)
    this.changes.set(alert.target, alert)
  }
  withdraw(target: NodeId): void {
    if (this.alerts.delete(target)) this.changes.set(target, undefined)
  }
  /** Asks those of whom no answer is awaited yet. */
  ask(targets: readonly NodeId[]): readonly Probe[] {
    return targets
      .filter((target) => !this.watch(target).isAsked)
      .map((target) => ({
        target,
        timeoutMs: timeoutOf(this.update(target, { isAsked: true }), this.settings),
      }))
  }
  finish(changes: Partial<DetectorState>, probe: readonly Probe[] = [], askWitness = false): DetectorStep {
    const { watches, alerts, solitude } = this
    return {
      state: { ...this.before, ...changes, watches, alerts, solitude },
      probe,
      askWitness,
      changes: this.changes,
    }
  }
}
