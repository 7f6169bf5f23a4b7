import { isFallen } from '../../../packages/agent/src/core/membership/liveness.ts'
import { DetectorMesh, type Fault, type Verdict } from './mesh.ts'

/** What one scenario of the Rapid paper (Suresh et al., ATC '18, section 7) came to, as all who look on saw it. */
export interface Outcome {
  readonly scenario: string
  readonly nodes: number
  /** Healthy nodes that a healthy one gave up, even for an instant: pairs. */
  readonly healthyEvicted: number
  /** What those who are ill themselves did to healthy ones: pairs. */
  readonly healthyEvictedByIll: number
  /** Of the ill: how many were given up by anybody, and how often at most by one who looked on. */
  readonly illEvicted: number
  readonly evictionsOfOneMax: number
  /** The most decisions in which one node took all of the crashed out. */
  readonly decisionsMax: number
  /** From the fault, or the last start, until all who look closely had decided, ms. */
  readonly decidedAfterMs: number
  /** Records published in the last minute, by all together. */
  readonly publishedInLastMinute: number
  readonly outBytesPerSecond: number
}

export interface Scenario {
  readonly name: string
  readonly nodes: number
  readonly ill: readonly number[]
  readonly fault?: Fault
  /** The ill lose their power. */
  readonly crashes?: true
  /** Agents that nobody has ever heard start within so many ms. */
  readonly bootstrapMs?: number
  readonly forMs: number
  /** All is decided in so many decisions, and so soon: a third of all make half of somebody's targets, who is the more careful. */
  readonly decisions: number
  readonly withinMs: number
}

/** Whoever loses much stays, or goes once, whenever that is. */
const whenever = { decisions: Infinity, withinMs: Infinity }

const lastMs = 60_000
const beginMs = 10_000

/** Every 100th node or so, on no pattern that the rings could share. */
function someOf(nodes: number, share: number): readonly number[] {
  const count = Math.max(1, Math.round(nodes * share))
  return Array.from({ length: count }, (_, index) => (index * 7919 + 3) % nodes)
}

export function scenarios(nodes: number): readonly Scenario[] {
  const one = someOf(nodes, 0.01)
  const never = (): number => 0
  const lossy = (nowMs: number): number => (nowMs < beginMs ? 0 : 0.8)
  /** Everything for 20 s, nothing for 20 s. */
  const flips = (nowMs: number): number => (nowMs >= beginMs && (nowMs - beginMs) % 40_000 < 20_000 ? 1 : 0)
  const atOnce = { decisions: 1, withinMs: 3_000 }
  const faulty = (name: string, fault: Partial<Fault>, bounds = atOnce): Scenario => ({
    name,
    nodes,
    ill: one,
    fault: { ingress: never, egress: never, ...fault },
    forMs: 300_000,
    ...bounds,
  })
  return [
    { name: 'bootstrap', nodes, ill: [], bootstrapMs: 5_000, forMs: 90_000, ...atOnce },
    {
      name: '10 crash at once',
      nodes,
      ill: someOf(nodes, 10 / nodes),
      crashes: true,
      forMs: 90_000,
      ...atOnce,
    },
    {
      name: 'a third crash at once',
      nodes,
      ill: someOf(nodes, 1 / 3),
      crashes: true,
      forMs: 90_000,
      decisions: 3,
      withinMs: 5_000,
    },
    faulty('1 % lose all that comes in, every other 20 s', { ingress: flips }),
    faulty('1 % lose all that goes out, every other 20 s', { egress: flips }),
    faulty('1 % lose 80 % of what comes in', { ingress: lossy }, whenever),
    faulty('1 % lose 80 % of what goes out', { egress: lossy }, whenever),
  ]
}

export function play(
  { name, nodes, ill, fault, crashes, bootstrapMs, forMs }: Scenario,
  seed: number,
): Outcome {
  const mesh = new DetectorMesh({
    count: nodes,
    seed,
    watched: ill,
    ...(fault !== undefined && { faults: new Map(ill.map((index) => [index, fault])) }),
    ...(bootstrapMs !== undefined && {
      isNew: true,
      startsAtMs: (_, random) => random.between(0, bootstrapMs),
    }),
  })
  mesh.pass(beginMs)
  if (crashes === true) for (const index of ill) mesh.kill(index)
  mesh.pass(forMs - beginMs - lastMs)
  const published = mesh.published
  mesh.takeTraffic(1)
  mesh.pass(lastMs)
  const outBytesPerSecond = mesh.takeTraffic(lastMs)
  const isIll = new Set(ill.map((index) => mesh.agents[index]!.id))
  const evictions = mesh.verdicts.filter(
    ({ was, is }) => was !== undefined && !isFallen(was.kind) && isFallen(is.kind),
  )
  const byHealthy = evictions.filter(({ by }) => !isIll.has(by.id))
  const ofIll = byHealthy.filter(({ of }) => isIll.has(of))
  const perPair = countsBy(ofIll, ({ by, of }) => `${by.id} ${of}`)
  const decisions = new Map<string, Set<number>>()
  for (const { by, atMs } of ofIll) decisions.set(by.id, (decisions.get(by.id) ?? new Set()).add(atMs))
  const looking = ofIll.filter(({ by }) => by.isLooking).map(({ atMs }) => atMs)
  const decidedAfterMs =
    bootstrapMs === undefined
      ? looking.reduce((last, atMs) => Math.max(last, atMs), beginMs) - beginMs
      : Math.max(...mesh.agents.map(({ isLooking, changedAtMs }) => (isLooking ? changedAtMs : 0))) -
        bootstrapMs
  return {
    scenario: name,
    nodes,
    healthyEvicted: byHealthy.length - ofIll.length,
    healthyEvictedByIll: evictions.filter(({ by, of }) => isIll.has(by.id) && !isIll.has(of)).length,
    illEvicted: new Set(ofIll.map(({ of }) => of)).size,
    evictionsOfOneMax: largest(perPair.values()),
    decisionsMax: largest([...decisions.values()].map(({ size }) => size)),
    decidedAfterMs,
    publishedInLastMinute: mesh.published - published,
    outBytesPerSecond,
  }
}

function largest(values: Iterable<number>): number {
  let most = 0
  for (const value of values) most = Math.max(most, value)
  return most
}

function countsBy(
  verdicts: readonly Verdict[],
  keyOf: (verdict: Verdict) => string,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const verdict of verdicts) counts.set(keyOf(verdict), (counts.get(keyOf(verdict)) ?? 0) + 1)
  return counts
}

/** What an outcome breaks of what is promised; empty = nothing. */
export function brokenBy(
  outcome: Outcome,
  { nodes, ill, crashes, decisions, withinMs }: Scenario,
): readonly string[] {
  /**
   * Each observer and each target of one that is ill has an episode a minute: suspected, silent, returned, suspected no
   * more; and the accused answers.
   */
  const publishedMax = 5 * 8 * ill.length
  // Whom somebody misses it asks more often; of a few that is seen in the mean.
  const outMax = 1_024 * (ill.length > 0 && crashes !== true && nodes < 100 ? 1.2 : 1)
  const bounds: readonly (readonly [keyof Outcome, number])[] = [
    ['healthyEvicted', 0],
    ['healthyEvictedByIll', 0],
    ['evictionsOfOneMax', 1],
    ['decisionsMax', decisions],
    ['decidedAfterMs', withinMs],
    ['publishedInLastMinute', publishedMax],
    ['outBytesPerSecond', outMax],
  ]
  const broken = bounds
    .filter(([figure, bound]) => Number(outcome[figure]) > bound)
    .map(([figure, bound]) => `${figure} is ${outcome[figure]}, over ${bound}`)
  if (crashes === true && outcome.illEvicted < ill.length)
    broken.push(`only ${outcome.illEvicted} of ${ill.length} dead were found`)
  return broken
}
