import type { MemoryCall } from '../../packages/agent/src/ports/engine.memory.calls.ts'
import { exclusiveActs, exclusiveShare } from './exclusive-acts.ts'
import type { Part } from './listeners.ts'
import type { Random } from './random.ts'

/**
 * What happens in a run, all of it drawn before it begins: an act can be left out without changing any other, which is
 * how a failing run is made small. A fault ends by itself after `forMs`.
 */
export type Act = Fault | Deed

export type Fault = { readonly atMs: number; readonly forMs: number } & (
  | { readonly kind: 'power off'; readonly host: number }
  /** SIGKILL after so many halves of effects: between any two things that it does. */
  | { readonly kind: 'kill agent'; readonly host: number; readonly afterEffects: number }
  /** The process does nothing, like one that collects garbage or is swapped out. */
  | { readonly kind: 'pause agent'; readonly host: number }
  | { readonly kind: 'clock runs at'; readonly host: number; readonly rate: number }
  /** The host's own clock, within what leases allow for. */
  | { readonly kind: 'clock error'; readonly host: number; readonly rate: number }
  | { readonly kind: 'clock jumps'; readonly host: number; readonly byMs: number }
  /** Another process of it goes on with what was kept. */
  | { readonly kind: 'watchdog dies'; readonly host: number }
  | { readonly kind: 'engine down'; readonly host: number }
  | { readonly kind: 'engine hangs'; readonly host: number; readonly call: MemoryCall }
  | { readonly kind: 'engine slow'; readonly host: number; readonly factor: number }
  | {
      readonly kind: 'engine fails'
      readonly host: number
      readonly call: MemoryCall
      readonly times: number
    }
  | {
      readonly kind: 'container ends'
      readonly host: number
      readonly which: number
      readonly exitCode: number
    }
  | { readonly kind: 'container unhealthy'; readonly host: number; readonly which: number }
  /** Its server answers so for a while; a container that nobody probes does not mind. */
  | { readonly kind: 'probe fails'; readonly host: number; readonly which: number; readonly part: Part }
  /** What a whole service depends on is gone for a while: all of it is ill, by health checks and probes alike. */
  | { readonly kind: 'service ill'; readonly service: string }
  | { readonly kind: 'container removed'; readonly host: number; readonly which: number }
  /** The side of each host, and then of the gateway. */
  | { readonly kind: 'partition'; readonly sides: readonly number[] }
  /** `host` sees both sides, which do not see each other. */
  | { readonly kind: 'bridge'; readonly host: number; readonly sides: readonly number[] }
  /** Whoever runs the service then sees so many others and no more, while its agent or its engine may do nothing. */
  | {
      readonly kind: 'holder apart'
      readonly service: string
      readonly company: number
      readonly worse: 'agent killed' | 'agent paused' | 'engine hangs' | undefined
    }
  | { readonly kind: 'one way'; readonly from: number; readonly to: number }
  | { readonly kind: 'loss'; readonly from: number; readonly to: number; readonly probability: number }
  | { readonly kind: 'duplication'; readonly from: number; readonly to: number; readonly probability: number }
  | { readonly kind: 'slow link'; readonly from: number; readonly to: number; readonly slowMs: number }
  | { readonly kind: 'flapping'; readonly host: number; readonly periodMs: number }
  | { readonly kind: 'disk full'; readonly host: number }
  | { readonly kind: 'disk slow'; readonly host: number }
  /** The power fails in the middle of the next write, and half of that is on the disk. */
  | { readonly kind: 'torn write'; readonly host: number }
  /** Seen when the agent starts again, after `forMs`. */
  | { readonly kind: 'bit rot'; readonly host: number; readonly which: number }
)

/** What a person does, at any host that answers. */
export type Deed = { readonly atMs: number; readonly via: number } & (
  | { readonly kind: 'deploy'; readonly service: string; readonly shape: Shape }
  /** Exclusive from now on, or not any more. */
  | { readonly kind: 'contract'; readonly service: string; readonly exclusive: boolean }
  /** The same again, as it is tried after a pause. */
  | { readonly kind: 'force'; readonly service: string }
  | { readonly kind: 'scale'; readonly service: string; readonly replicas: number }
  | { readonly kind: 'image'; readonly service: string; readonly image: string }
  /** Its replicas are to keep away from `host`, and from no other; undefined: they may run anywhere. */
  | { readonly kind: 'constrain'; readonly service: string; readonly host: number | undefined }
  | { readonly kind: 'rollback'; readonly service: string }
  | { readonly kind: 'rebalance'; readonly service?: string }
  /** All services of the stack `shop` at once, which have an outcome together; image by service. */
  | {
      readonly kind: 'release'
      readonly images: Readonly<Record<string, string>>
      readonly shape: Omit<Shape, 'image'>
    }
  | { readonly kind: 'remove'; readonly service: string }
  /** Containers of the person's own, on the network of services, for so long. */
  | { readonly kind: 'attach'; readonly count: number; readonly forMs: number }
  | { readonly kind: 'restore'; readonly service: string }
  | { readonly kind: 'availability'; readonly host: number; readonly state: Availability }
  /** `host` joins with a token that is asked for at `via`. */
  | { readonly kind: 'join'; readonly host: number }
  | { readonly kind: 'leave'; readonly host: number }
)

export type Availability = 'active' | 'pause' | 'drain'

export interface Shape {
  readonly image: string
  readonly global: boolean
  readonly replicas: number
  readonly checked: boolean
  /** Probed by label at these. */
  readonly probed?: readonly Part[]
  readonly parallelism: number
  readonly order: 'start-first' | 'stop-first'
  readonly onFailure: 'continue' | 'pause' | 'rollback'
  /** On a network, where others find it by its name. */
  readonly networked?: boolean
  /** By itself, where nothing has changed for a while. */
  readonly evensOut?: boolean
  /** Never to run twice, whatever it costs. */
  readonly exclusive?: boolean
  /** Between two slots of an update. */
  readonly delayMs?: number
  /** This part of all slots may fail. */
  readonly tolerated?: number
  /** Of each host's 8 GiB. */
  readonly reservedBytes?: number
}

export interface Plan {
  /** All machines; the first `founders` of them are one cluster when it begins. */
  readonly hosts: number
  readonly founders: number
  readonly acts: readonly Act[]
  /** No host is ever cut off, slow or dead. */
  readonly wholeNetwork: boolean
  /** No fault is under way after this. */
  readonly calmAtMs: number
  /** How fast each host's own clock runs; default: as fast as time. */
  readonly clockRates?: readonly number[]
  /** Who votes on leases has been settled before it begins. */
  readonly isSettled?: boolean
  /** Drained when all is calm, and left so; default: every host takes tasks in the end. */
  readonly drainedInTheEnd?: number
}

const serviceNames = ['api', 'db', 'web'] as const
const engineCalls = ['prepare', 'create', 'start', 'stop', 'remove', 'list'] as const

/**
 * What hides best among the promises is broken ten times as often by runs that are one-sided. `storm`: few hosts, and many faults, most of which make hosts
 * take each other for dead. `rush`: a whole network, and people who change one thing while another is under way.
 */
export const planKinds = ['ordinary', 'storm', 'rush'] as const
export type PlanKind = (typeof planKinds)[number]

/** Three to nine hosts and so much time with all kinds of faults and people at once. */
export function planOf(random: Random, faultsForMs: number, kind: PlanKind = 'ordinary'): Plan {
  if (kind === 'rush') return rushOf(random, faultsForMs)
  const isStorm = kind === 'storm'
  const hosts = random.between(3, isStorm ? 6 : 9)
  const acts: Act[] = []
  for (const service of serviceNames) {
    if (random.chance(0.8))
      acts.push({
        kind: 'deploy',
        atMs: random.between(0, 5_000),
        via: random.between(0, 8),
        service,
        shape: shapeOf(random, service),
      })
  }
  const rottenHost = random.between(0, hosts - 1)
  const wholeNetwork = random.chance(isStorm ? 0 : 0.2)
  // A write that two disks have is lost if one of them leaves and the other rots: people were told of neither.
  const leaves = random.chance(0.3)
  const founders = random.chance(0.3) ? random.between(2, hosts - 1) : hosts
  for (let host = founders; host < hosts; host += 1) {
    acts.push({ kind: 'join', atMs: random.between(6_000, faultsForMs), via: random.between(0, 8), host })
  }
  const deeds = random.between(5, 30)
  for (let count = 0; count < deeds; count += 1)
    acts.push(deedOf(random, hosts, random.between(5_000, faultsForMs), leaves))
  const faults = isStorm ? random.between(20, 50) : random.between(5, 40)
  for (let count = 0; count < faults; count += 1) {
    const atMs = random.between(1_000, faultsForMs - 1_000)
    const forMs = Math.min(
      random.chance(0.5) ? random.between(50, 3_000) : random.between(1_000, 40_000),
      faultsForMs - atMs,
    )
    const draw = (): Loose<Fault> => faultOf(random, hosts, rottenHost)
    const first = draw()
    const second = isStorm && !isOfStorms(first) ? draw() : first
    const fault = isStorm && !isOfStorms(second) ? draw() : second
    if ((fault.kind === 'bit rot' || fault.kind === 'torn write') && leaves) continue
    if (!wholeNetwork || harmless.has(fault.kind)) acts.push({ atMs, forMs, ...fault })
  }
  // What came to the simulator later is drawn later: so that what else a seed brings stays what it was.
  if (random.chance(0.3)) acts.push(...releasesOf(random, hosts, faultsForMs))
  if (random.chance(0.5)) {
    for (const [index, act] of acts.entries())
      if (act.kind === 'deploy') acts[index] = { ...act, shape: { ...act.shape, probed: probedOf(random) } }
    acts.push(...illnesses(random, hosts, faultsForMs))
  }
  for (const [index, act] of acts.entries()) {
    if (act.kind === 'deploy' && random.chance(0.4))
      acts[index] = { ...act, shape: { ...act.shape, networked: true } }
  }
  if (random.chance(0.5)) acts.push(...rebalances(random, hosts, faultsForMs))
  const evened = acts.findIndex((act) => act.kind === 'deploy' && !act.shape.global)
  const act = acts[evened]
  if (act?.kind === 'deploy' && random.chance(0.4))
    acts[evened] = { ...act, shape: { ...act.shape, evensOut: true } }
  const exclusive = random.chance(exclusiveShare)
    ? exclusiveActs(random, { hosts, faultsForMs, wholeNetwork })
    : undefined
  acts.push(...(exclusive?.acts ?? []))
  if (random.chance(0.4)) acts.push(...attachments(random, hosts, faultsForMs))
  for (const [index, act] of acts.entries()) {
    if (act.kind === 'deploy' && random.chance(0.4))
      acts[index] = { ...act, shape: { ...act.shape, ...rulesOf(random, act.service, leaves) } }
  }
  return {
    hosts,
    founders,
    wholeNetwork,
    ...(exclusive && { clockRates: exclusive.clockRates, isSettled: exclusive.isSettled }),
    acts: acts.toSorted((a, b) => a.atMs - b.atMs),
    calmAtMs: faultsForMs,
  }
}

function rushOf(random: Random, faultsForMs: number): Plan {
  const hosts = random.between(4, 7)
  const acts: Act[] = []
  const services = serviceNames.slice(0, random.between(1, 3))
  for (const service of services) {
    const drawn = { ...shapeOf(random, service), ...rulesOf(random, service, false) }
    const shape = { ...drawn, replicas: random.between(2, 8), parallelism: random.between(1, 2) }
    const isProbed = random.chance(0.3)
    acts.push({
      kind: 'deploy',
      atMs: random.between(0, 1_000),
      via: random.between(0, hosts - 1),
      service,
      shape: isProbed ? { ...shape, probed: probedOf(random) } : shape,
    })
  }
  for (let atMs = 8_000; atMs < faultsForMs; atMs += random.between(2_000, 20_000)) {
    const service = random.pick(services) ?? 'api'
    const withinMs = random.pick([100, 500, 4_000]) ?? 500
    for (let count = random.between(1, 4); count > 0; count -= 1) {
      const via = random.between(0, hosts - 1)
      const when = Math.min(atMs + random.between(0, withinMs), faultsForMs - 1)
      acts.push({ atMs: when, via, ...hurriedDeedOf(random, hosts, service) })
    }
  }
  for (let count = random.between(0, 10); count > 0; count -= 1) {
    const atMs = random.between(5_000, faultsForMs - 5_000)
    const forMs = Math.min(random.between(50, 10_000), faultsForMs - atMs)
    const drawn = faultOf(random, hosts, 0)
    if (harmless.has(drawn.kind)) acts.push({ atMs, forMs, ...drawn })
  }
  const inOrder = acts.toSorted((a, b) => a.atMs - b.atMs)
  return { hosts, founders: hosts, wholeNetwork: true, acts: inOrder, calmAtMs: faultsForMs }
}

function hurriedDeedOf(random: Random, hosts: number, service: string): HurriedDeed {
  const draw = random.next()
  const host = random.between(0, hosts - 1)
  if (draw < 0.4) {
    const tag = random.chance(0.4) ? random.pick(['bad', 'sick', 'stuck', 'missing']) : 'good'
    return { kind: 'image', service, image: `${service}:${tag}${random.between(2, 99)}` }
  }
  if (draw < 0.55) return { kind: 'constrain', service, host: random.chance(0.7) ? host : undefined }
  if (draw < 0.65) return { kind: 'scale', service, replicas: random.between(2, 10) }
  if (draw < 0.75) return { kind: 'rollback', service }
  if (draw < 0.8) return { kind: 'force', service }
  if (draw < 0.84) return { kind: 'rebalance', service }
  const state = random.pick(['active', 'active', 'pause', 'drain'] as const) ?? 'active'
  return { kind: 'availability', host, state }
}

/**
 * The plan with a host that stays drained, in some runs.
 *
 * @param random a generator of its own, so that what else a seed brings stays what it was
 */
export function withDrain(plan: Plan, random: Random): Plan {
  const drainedInTheEnd = random.between(0, plan.hosts - 1)
  return random.chance(0.4) ? { ...plan, drainedInTheEnd } : plan
}

function shapeOf(random: Random, service: string): Shape {
  return {
    image: `${service}:1`,
    global: random.chance(0.2),
    replicas: random.between(0, 8),
    checked: random.chance(0.4),
    parallelism: random.between(0, 2),
    order: random.chance(0.5) ? 'start-first' : 'stop-first',
    onFailure: random.pick(['continue', 'pause', 'rollback'] as const) ?? 'continue',
  }
}

/** Ten of the one service that reserves anything fit on two hosts, and on one they do not. Where hosts leave there may be one in the end. */
function rulesOf(random: Random, service: string, leaves: boolean): Partial<Shape> {
  return {
    delayMs: random.pick([0, 500, 3_000]) ?? 0,
    tolerated: random.pick([0, 0.2, 0.5]) ?? 0,
    ...(service === 'db' && !leaves && { reservedBytes: 1024 ** 3 }),
  }
}

/** A stack, and what is released of it then; now and then something that fails. */
function releasesOf(random: Random, hosts: number, faultsForMs: number): readonly Deed[] {
  const { image: _, ...shape } = shapeOf(random, 'shop')
  const count = random.between(2, 5)
  return Array.from({ length: count }, (_each, index) => {
    const tagOf = (): string =>
      index > 0 && random.chance(0.25)
        ? `bad${random.between(2, 99)}`
        : `good${random.between(2, index === 0 ? 2 : 99)}`
    return {
      kind: 'release',
      atMs: index === 0 ? random.between(0, 5_000) : random.between(6_000, faultsForMs),
      via: random.between(0, hosts - 1),
      images: { front: `front:${tagOf()}`, back: `back:${tagOf()}` },
      shape: { ...shape, onFailure: 'rollback' },
    }
  })
}

function probedOf(random: Random): readonly Part[] {
  const kinds: readonly (readonly Part[])[] = [
    ['ready'],
    ['live'],
    ['ready', 'live'],
    ['start', 'ready', 'live'],
  ]
  return random.pick(kinds) ?? []
}

function rebalances(random: Random, hosts: number, faultsForMs: number): readonly Deed[] {
  return Array.from({ length: random.between(1, 6) }, () => ({
    kind: 'rebalance',
    atMs: random.between(8_000, faultsForMs),
    via: random.between(0, hosts - 1),
  }))
}

function attachments(random: Random, hosts: number, faultsForMs: number): readonly Deed[] {
  return Array.from({ length: random.between(1, 12) }, () => {
    const atMs = random.between(5_000, faultsForMs - 5_000)
    const forMs = Math.min(random.between(500, 60_000), faultsForMs - atMs)
    return { kind: 'attach', atMs, forMs, count: random.between(1, 6), via: random.between(0, hosts - 1) }
  })
}

function illnesses(random: Random, hosts: number, faultsForMs: number): readonly Fault[] {
  return Array.from({ length: random.between(1, 8) }, () => {
    const atMs = random.between(5_000, faultsForMs - 5_000)
    const base = { atMs, forMs: Math.min(random.between(500, 30_000), faultsForMs - atMs) }
    if (random.chance(0.4))
      return { ...base, kind: 'service ill', service: random.pick(serviceNames) ?? 'web' }
    const part = random.pick(['ready', 'live'] as const) ?? 'live'
    const host = random.between(0, hosts - 1)
    return { ...base, kind: 'probe fails', host, which: random.between(0, 9), part }
  })
}

function deedOf(random: Random, hosts: number, atMs: number, leaves: boolean): Deed {
  const service = random.pick(serviceNames) ?? 'web'
  const base = { atMs, via: random.between(0, hosts - 1) }
  const draw = random.next()
  if (draw < 0.03) return { ...base, kind: 'force', service }
  if (draw < 0.07) {
    const host = random.chance(0.8) ? random.between(0, hosts - 1) : undefined
    return { ...base, kind: 'constrain', service, host }
  }
  if (draw < 0.25) return { ...base, kind: 'scale', service, replicas: random.between(0, 10) }
  if (draw < 0.5) {
    const tag = random.chance(0.2) ? random.pick(['bad', 'sick', 'stuck', 'missing']) : 'good'
    return { ...base, kind: 'image', service, image: `${service}:${tag}${random.between(2, 99)}` }
  }
  if (draw < 0.6) return { ...base, kind: 'rollback', service }
  if (draw < 0.68) return { ...base, kind: 'remove', service }
  if (draw < 0.74) return { ...base, kind: 'restore', service }
  if (draw < 0.84) return { ...base, kind: 'deploy', service, shape: shapeOf(random, service) }
  const host = random.between(0, hosts - 1)
  if (leaves && draw < 0.9) return { ...base, kind: random.chance(0.5) ? 'leave' : 'join', host }
  const state = random.pick(['active', 'active', 'pause', 'drain'] as const) ?? 'active'
  return { ...base, kind: 'availability', host, state }
}

/** Faults that leave every agent able to hear every other. */
const harmless: ReadonlySet<Fault['kind']> = new Set([
  'engine down',
  'engine hangs',
  'engine fails',
  'disk full',
  'container ends',
  'container unhealthy',
  'container removed',
  'probe fails',
  'service ill',
  'clock jumps',
  'clock error',
  'watchdog dies',
  'engine slow',
  'disk slow',
  'duplication',
])

/** Faults that may make hosts take each other for dead. */
const disturbing: ReadonlySet<Fault['kind']> = new Set([
  'power off',
  'torn write',
  'bit rot',
  'kill agent',
  'clock runs at',
  'partition',
  'bridge',
  'holder apart',
  'one way',
  'loss',
  'slow link',
  'flapping',
])

export function isDisturbing({ kind }: { readonly kind: Fault['kind'] }): boolean {
  return disturbing.has(kind)
}

/** What storms have most of. */
function isOfStorms(fault: Loose<Fault>): boolean {
  return isDisturbing(fault) || fault.kind === 'pause agent'
}

type Loose<T> = T extends unknown ? Omit<T, 'atMs' | 'forMs'> : never
type HurriedDeed = Deed extends infer One ? (One extends unknown ? Omit<One, 'atMs' | 'via'> : never) : never

/** @param rottenHost the only one whose disk rots: a write that two disks have must survive. */
function faultOf(random: Random, hosts: number, rottenHost: number): Loose<Fault> {
  const host = random.between(0, hosts - 1)
  const other = (host + random.between(1, hosts - 1)) % hosts
  const which = random.between(0, 9)
  const sides = Array.from({ length: hosts + 1 }, () => random.between(0, random.chance(0.2) ? 2 : 1))
  // Somebody is on another side than the first.
  sides[other] = sides[host] === 0 ? 1 : 0
  const call = random.pick(engineCalls) ?? 'start'
  const faults: readonly (() => Loose<Fault>)[] = [
    () => ({ kind: 'power off', host }),
    () => ({ kind: 'power off', host }),
    () => ({ kind: 'kill agent', host, afterEffects: random.between(1, 40) }),
    () => ({ kind: 'kill agent', host, afterEffects: random.between(1, 40) }),
    () => ({ kind: 'pause agent', host }),
    () => ({ kind: 'clock runs at', host, rate: random.pick([0.5, 0.9, 1.1, 2]) ?? 1 }),
    () => ({ kind: 'clock jumps', host, byMs: random.between(-3_600_000, 3_600_000) }),
    () => ({ kind: 'engine down', host }),
    () => ({ kind: 'engine hangs', host, call }),
    () => ({ kind: 'engine slow', host, factor: random.pick([3, 20, 60]) ?? 3 }),
    () => ({ kind: 'engine fails', host, call, times: random.between(1, 5) }),
    () => ({ kind: 'container ends', host, which, exitCode: random.between(0, 1) }),
    () => ({ kind: 'container ends', host, which, exitCode: 137 }),
    () => ({ kind: 'container unhealthy', host, which }),
    () => ({ kind: 'container removed', host, which }),
    () => ({ kind: 'partition', sides }),
    () => ({ kind: 'partition', sides }),
    () => ({ kind: 'bridge', host, sides }),
    () => ({ kind: 'one way', from: host, to: other }),
    () => ({ kind: 'loss', from: host, to: other, probability: random.pick([0.1, 0.5, 0.8]) ?? 0.5 }),
    () => ({ kind: 'duplication', from: host, to: other, probability: random.pick([0.3, 1]) ?? 1 }),
    () => ({ kind: 'slow link', from: host, to: other, slowMs: random.between(50, 1_500) }),
    () => ({ kind: 'flapping', host, periodMs: random.between(200, 4_000) }),
    () => ({ kind: 'disk full', host }),
    () => ({ kind: 'disk slow', host }),
    () => ({ kind: 'torn write', host: rottenHost }),
    () => ({ kind: 'bit rot', host: rottenHost, which: random.between(0, 1_000) }),
  ]
  return faults[random.between(0, faults.length - 1)]!()
}

export function describeAct(act: Act): string {
  const { atMs: _, kind, ...rest } = act
  const details = Object.entries(rest).map(([name, value]) =>
    name === 'host' || name === 'from' || name === 'to' || name === 'via'
      ? `${name === 'host' ? '' : `${name} `}host${Number(value) + 1}`
      : `${name} ${JSON.stringify(value)}`,
  )
  return `${kind}: ${details.join(', ')}`
}
