import { hash } from 'node:crypto'
import { describeAct, type Plan, type PlanKind, planOf, withDrain } from './acts.ts'
import { fault } from './faults.ts'
import type { Sabotage } from './sabotage.ts'
import { People } from './people.ts'
import { Promises } from './promises.ts'
import { randomFrom } from './random.ts'
import type { ServiceRow, VotersAnswer } from './rows.ts'
import type { Verdict } from './seeds.ts'
import { Watchers } from './watchers.ts'
import { World } from './world.ts'

export interface RunOptions {
  readonly seed: number
  /** Default: drawn from the seed. */
  readonly plan?: Plan
  /** Of the plan that is drawn. */
  readonly kind?: PlanKind
  readonly sabotage?: Sabotage | undefined
}

export interface Outcome extends Verdict {
  readonly story: readonly string[]
}

/** A run as a whole; how long faults and people go on in it; by when all must be well after that; and then rest. */
const wholeMs = 300_000
const faultsForMs = 180_000
const calmForMs = 120_000
const restMs = 5_000
/** A run is short: it has no five quiet minutes, nor ten without a use for a block of addresses. */
const settings = { rebalanceQuietMs: 15_000, rebalanceMoveMaxMs: 30_000, blockIdleMs: 10_000 }
/** Who has been up for a minute may vote, and is voted in within this. */
const settlesWithinMs = 75_000
/** Restarts wait for 3 s. */
const looksUntilRest = 4
/** Which of the seed's generators says what is drained in the end. */
const drawsDrains = 0xd7a1
/** With so many members what is wanted has room and may run on others, though one of them is drained and one is to be kept away from. */
const membersToDrain = 4
/** One host after the other is looked at, this often; and now and then asked about its tasks. */
const lookEveryMs = 1_000
const looksPerQuestion = 17

/** Five virtual minutes of a cluster, most of them bad. */
export async function run(options: RunOptions): Promise<Outcome> {
  const { seed, sabotage } = options
  const plan =
    options.plan ??
    withDrain(planOf(randomFrom(seed), faultsForMs, options.kind), randomFrom(seed ^ drawsDrains))
  const { hosts, founders, clockRates } = plan
  const world = await World.of({ seed, hosts, founders, clockRates, sabotage, settings })
  if (plan.isSettled === true) await world.pass(settlesWithinMs)
  const people = new People(world)
  const watchers = new Watchers(world, { wholeNetwork: plan.wholeNetwork })
  const promises = new Promises(world, people)
  const wrongMeanwhile: string[] = []
  const beganMs = world.nowMs
  for (const act of plan.acts) {
    world.clock.after(act.atMs, () => {
      world.tell(describeAct(act))
      if ('via' in act)
        void people.say(act).then((host) => host && wrongMeanwhile.push(...promises.unlikeItsView(host)))
      else fault(world, act)
    })
  }
  for (let atMs = lookEveryMs; atMs < plan.calmAtMs; atMs += lookEveryMs) {
    const look = atMs / lookEveryMs
    world.clock.after(atMs, () => {
      const host = world.host(look)
      wrongMeanwhile.push(...promises.unlikeItsView(host))
      if (look % looksPerQuestion !== 0) return
      void promises.unexplained(host).then((found) => wrongMeanwhile.push(...found))
    })
  }
  await world.pass(plan.calmAtMs)
  world.tell('calm')
  await lastWord(world, people, plan.drainedInTheEnd)
  let wrong = await untilWell(world, promises)
  if (wrong.length === 0 && (await letRest(world, people))) wrong = await untilWell(world, promises)
  if (wrong.length === 0) wrong = await promises.restless(Math.max(restMs, beganMs + wholeMs - world.nowMs))
  return {
    seed,
    plan,
    wrong: [
      ...world.halted,
      ...people.violations,
      ...watchers.violations,
      ...promises.violations,
      ...wrongMeanwhile,
      ...wrong,
    ],
    story: world.story,
    virtualMs: world.nowMs - beganMs,
    visibleMs: promises.visibleMs,
    met: [...world.met],
    storyHash: hash('sha256', world.story.join('\n')),
  }
}

/** What is not well by then. */
async function untilWell(world: World, promises: Promises): Promise<readonly string[]> {
  const calmMs = world.nowMs
  let wrong = await promises.broken()
  // Well once may be by chance: a bad task that is being replaced still waits to be started once more.
  for (let wellLooks = 0; wellLooks < looksUntilRest && world.nowMs - calmMs < calmForMs;) {
    await world.pass(1_000)
    await promises.watchClaims()
    wrong = await promises.broken()
    wellLooks = wrong.length === 0 ? wellLooks + 1 : 0
  }
  return wrong
}

/** What is evened out by itself would be so at any time, also at rest: when a probation ends. */
async function letRest(world: World, people: People): Promise<boolean> {
  const evened = (await servicesOf(world)).filter(({ Spec }) => Spec.Labels['moot.rebalance'] === 'auto')
  for (const { Spec } of evened) await world.during(people.letRest(Spec.Name))
  return evened.length > 0
}

/**
 * What people want in the end can run: every image is a good one, every node takes tasks but for one that may be drained, an update that
 * paused is tried again. What was wanted before and can run is left alone: it has to come about by itself.
 */
async function lastWord(world: World, people: People, drained: number | undefined): Promise<void> {
  await world.pass(10_000)
  const isRoomy = world.members().length >= membersToDrain
  for (const [index, host] of world.hosts.entries()) {
    const own = host.isMember ? host.agent?.view().nodes.get(host.node) : undefined
    const state = isRoomy && index === drained ? 'drain' : 'active'
    if (own === undefined || own.spec.Availability === state) continue
    await world.during(people.say({ kind: 'availability', atMs: 0, via: index, host: index, state }))
  }
  await removeGhosts(world)
  await replaceLostVoters(world)
  for (const { Spec, UpdateStatus } of await servicesOf(world)) {
    const base = { atMs: 0, via: 0, service: Spec.Name }
    if (world.members().length < 2)
      await world.during(people.say({ ...base, kind: 'constrain', host: undefined }))
    if (/:(?:bad|sick|stuck|missing)/.test(Spec.TaskTemplate.ContainerSpec.Image))
      await world.during(people.say({ ...base, kind: 'image', image: `${Spec.Name}:last` }))
    else if (UpdateStatus?.State.endsWith('paused') === true)
      await world.during(people.say({ ...base, kind: 'force' }))
  }
}

async function servicesOf(world: World): Promise<readonly ServiceRow[]> {
  const answer = await world.during(world.members()[0]?.ask('GET', '/services') ?? Promise.resolve(undefined))
  return answer?.status === 200 ? (answer.body as readonly ServiceRow[]) : []
}

/** Voters that have left or lost what they had promised, and most of them, cannot be replaced but by the person who reads so. */
async function replaceLostVoters(world: World): Promise<void> {
  const members = world.members()
  const answer = await world.during(members[0]!.ask('GET', '/moot/v1/voters'))
  if (answer?.status !== 200) return
  const { voters, health } = answer.body as VotersAnswer
  const gone = voters.filter(({ problem }) => problem !== undefined && problem !== 'does not answer')
  if (health !== 'lost' || gone.length * 2 <= voters.length) return
  const nodes = members.slice(0, members.length < 3 ? 1 : 3).map(({ node }) => node)
  world.tell('nobody gives leases any more: others are named')
  await world.during(members[0]!.ask('POST', '/moot/v1/voters/force', { nodes }))
}

/** A node that left while nobody heard it is dead to the others. The person who reads so in the list removes it. */
async function removeGhosts(world: World): Promise<void> {
  const [first] = world.members()
  for (const node of first?.agent?.view().nodes.keys() ?? []) {
    if (world.hosts.some((host) => host.node === node)) continue
    world.tell(`${node} is nobody's any more: removed`)
    await world.during(first!.ask('DELETE', `/nodes/${node}?force=true`))
  }
}
