import type { Act, Deed, Fault, Shape } from './acts.ts'
import type { Random } from './random.ts'

export interface ExclusivePart {
  readonly acts: readonly Act[]
  /** As wrong as leases allow for. */
  readonly clockRates: readonly number[]
  /** Who votes has been settled before it begins. */
  readonly isSettled: boolean
}

/** Never anything but exclusive; and one whose contract people change. */
const strict = 'vault'
const changing = 'cron'

/** The share of runs that have exclusive services: their leases are half of such a run's messages. */
export const exclusiveShare = 1 / 3

export function exclusiveActs(
  random: Random,
  { hosts, faultsForMs, wholeNetwork }: { hosts: number; faultsForMs: number; wholeNetwork: boolean },
): ExclusivePart {
  const within = { random, hosts, faultsForMs }
  const acts: Act[] = [deployAt(random.between(0, 5_000), hosts, random, strict, true)]
  for (let count = random.between(2, 10); count > 0; count -= 1) acts.push(strictDeed(within))
  if (random.chance(0.5)) acts.push(...(random.chance(0.5) ? loosening(within) : changingDeeds(within)))
  for (let count = random.between(0, 4); count > 0; count -= 1) {
    const host = random.between(0, hosts - 1)
    if (random.chance(0.7))
      acts.push({ ...span(within), kind: 'clock error', host, rate: random.pick([0.95, 1.05]) ?? 1 })
    else acts.push({ ...span(within), kind: 'watchdog dies', host })
  }
  if (!wholeNetwork) {
    for (let count = random.between(0, 3); count > 0; count -= 1) acts.push(longFault(within))
    for (let count = random.between(1, 4); count > 0; count -= 1) acts.push(holderApart(within))
  }
  const clockRates = Array.from(
    { length: hosts },
    () => random.pick([0.95, 1.05, 1, 0.95 + random.between(0, 100) / 1_000]) ?? 1,
  )
  return { acts, clockRates, isSettled: random.chance(0.6) }
}

interface Within {
  readonly random: Random
  readonly hosts: number
  readonly faultsForMs: number
}

function deployAt(
  atMs: number,
  hosts: number,
  random: Random,
  service: string,
  exclusive: boolean,
): Deed & { readonly kind: 'deploy' } {
  const shape: Shape = {
    image: `${service}:good1`,
    global: false,
    replicas: random.pick([1, 1, 2, 3]) ?? 1,
    checked: random.chance(0.4),
    parallelism: random.between(0, 2),
    order: random.chance(0.5) ? 'start-first' : 'stop-first',
    onFailure: random.pick(['continue', 'pause', 'rollback'] as const) ?? 'continue',
    exclusive,
  }
  return { atMs, via: random.between(0, hosts - 1), kind: 'deploy', service, shape }
}

function baseOf({ random, hosts, faultsForMs }: Within): { readonly atMs: number; readonly via: number } {
  return { atMs: random.between(5_000, faultsForMs), via: random.between(0, hosts - 1) }
}

function span({ random, faultsForMs }: Within): { readonly atMs: number; readonly forMs: number } {
  const atMs = random.between(1_000, faultsForMs - 1_000)
  return { atMs, forMs: Math.min(random.between(1_000, 60_000), faultsForMs - atMs) }
}

function strictDeed(within: Within): Deed {
  const { random, hosts } = within
  const base = { ...baseOf(within), service: strict }
  const draw = random.next()
  if (draw < 0.3) {
    const tag = random.chance(0.2) ? (random.pick(['bad', 'sick', 'stuck', 'missing']) ?? 'bad') : 'good'
    return { ...base, kind: 'image', image: `${strict}:${tag}${random.between(2, 99)}` }
  }
  if (draw < 0.45) return { ...base, kind: 'scale', replicas: random.between(0, 3) }
  if (draw < 0.55) return { ...base, kind: 'force' }
  if (draw < 0.7) {
    const host = random.chance(0.7) ? random.between(0, hosts - 1) : undefined
    return { ...base, kind: 'constrain', host }
  }
  if (draw < 0.8) return { ...base, kind: 'remove' }
  if (draw < 0.85) return { ...base, kind: 'restore' }
  if (draw < 0.9) return { ...base, kind: 'rollback' }
  return deployAt(base.atMs, hosts, random, strict, true)
}

/** Exclusive once, and then no more: nothing makes it so again. */
function loosening(within: Within): readonly Deed[] {
  const { random, hosts } = within
  const at = (): { readonly atMs: number; readonly via: number } => baseOf(within)
  const first = deployAt(random.between(0, 5_000), hosts, random, changing, true)
  const acts: Deed[] = [{ ...first, shape: { ...first.shape, onFailure: 'continue' } }]
  for (let count = random.between(0, 3); count > 0; count -= 1) {
    const image = `${changing}:good${random.between(2, 99)}`
    acts.push({ ...at(), kind: 'image', service: changing, image })
  }
  if (random.chance(0.5)) return [...acts, { ...at(), kind: 'contract', service: changing, exclusive: false }]
  const remove = at()
  const again = deployAt(remove.atMs + random.between(100, 10_000), hosts, random, changing, false)
  const via = random.chance(0.5) ? remove.via : again.via
  return [...acts, { ...remove, kind: 'remove', service: changing }, { ...again, via }]
}

function changingDeeds(within: Within): readonly Deed[] {
  const { random, hosts } = within
  const acts: Deed[] = [deployAt(random.between(0, 5_000), hosts, random, changing, random.chance(0.5))]
  for (let count = random.between(1, 5); count > 0; count -= 1) {
    const base = { ...baseOf(within), service: changing }
    const exclusive = random.chance(0.5)
    const draw = random.next()
    if (draw < 0.6) acts.push({ ...base, kind: 'contract', exclusive })
    else if (draw < 0.7) acts.push({ ...base, kind: 'remove' })
    else if (draw < 0.8) acts.push({ ...base, kind: 'rollback' })
    else if (draw < 0.85) acts.push({ ...base, kind: 'restore' })
    else acts.push(deployAt(base.atMs, hosts, random, changing, exclusive))
  }
  return acts
}

/** Longer than a lease. */
function longFault(within: Within): Fault {
  const { random, hosts, faultsForMs } = within
  const atMs = random.between(5_000, faultsForMs - 12_000)
  const base = { atMs, forMs: Math.min(random.between(10_000, 45_000), faultsForMs - atMs) }
  const host = random.between(0, hosts - 1)
  const other = (host + random.between(1, hosts - 1)) % hosts
  const sides = Array.from({ length: hosts + 1 }, () => random.between(0, 1))
  sides[other] = sides[host] === 0 ? 1 : 0
  const draw = random.next()
  if (draw < 0.35) return { ...base, kind: 'partition', sides }
  if (draw < 0.55) return { ...base, kind: 'bridge', host: random.between(0, hosts - 1), sides }
  if (draw < 0.65) return { ...base, kind: 'one way', from: host, to: other }
  if (draw < 0.8) return { ...base, kind: 'pause agent', host }
  return { ...base, kind: 'engine hangs', host, call: random.pick(['start', 'stop', 'remove']) ?? 'start' }
}

function holderApart(within: Within): Fault {
  const { random, hosts, faultsForMs } = within
  const atMs = random.between(8_000, faultsForMs - 15_000)
  return {
    atMs,
    forMs: Math.min(random.between(5_000, 40_000), faultsForMs - atMs),
    kind: 'holder apart',
    service: random.chance(0.8) ? strict : changing,
    company: random.pick([0, 0, 1, random.between(0, hosts - 2)]) ?? 0,
    worse: random.pick(['agent killed', 'agent paused', 'engine hangs', undefined] as const),
  }
}
