import type { Deed, Shape } from './acts.ts'
import { watchExclusivity } from './exclusivity.ts'
import { fault } from './faults.ts'
import type { Host } from './host.ts'
import { People } from './people.ts'
import { Promises } from './promises.ts'
import type { Sabotage } from './sabotage.ts'
import { World } from './world.ts'

const shape: Shape = {
  image: 'db:good1',
  global: false,
  replicas: 1,
  checked: false,
  parallelism: 1,
  order: 'stop-first',
  onFailure: 'pause',
  exclusive: true,
}
/** Who has been up for a minute may vote, and is voted in within this. */
export const votersSettleWithinMs = 75_000
/** One slow, one fast, … */
const clockRates = [0.95, 1.05, 1, 1.05, 0.95]

type WithoutTime<T> = T extends unknown ? Omit<T, 'atMs'> : never

export interface ExclusiveStage {
  readonly world: World
  readonly say: (deed: WithoutTime<Deed>) => Promise<unknown>
  /** Of what must hold at every moment. */
  readonly violations: readonly string[]
  /** Of all that must hold where nothing is broken. */
  readonly wrong: () => Promise<readonly string[]>
}

/** Five hosts, all of which vote; `db` is exclusive and runs. */
export async function exclusiveStage(seed: number, sabotage?: Sabotage): Promise<ExclusiveStage> {
  const world = await World.of({ seed, hosts: 5, clockRates, sabotage })
  const people = new People(world)
  const promises = new Promises(world, people)
  const violations: string[] = []
  watchExclusivity(world, (line) => violations.push(line))
  const say = (deed: WithoutTime<Deed>): Promise<unknown> => world.during(people.say({ ...deed, atMs: 0 }))
  await world.pass(votersSettleWithinMs)
  await say({ kind: 'deploy', via: seed, service: 'db', shape })
  await world.pass(10_000)
  const wrong = async (): Promise<readonly string[]> => [
    ...(await promises.broken()),
    ...people.violations,
    ...violations,
  ]
  return { world, say, violations, wrong }
}

export function runsOn({ hosts }: World): readonly Host[] {
  return hosts.filter(({ engine }) =>
    engine.containers().some(({ observation }) => observation.state === 'running'),
  )
}

export function holderOf(world: World): Host {
  const [holder, ...others] = runsOn(world)
  if (holder === undefined || others.length > 0) throw new Error('it does not run once')
  return holder
}

/** The side of each host; the gateway is with those of side 0. */
export function part(world: World, sideOf: (host: Host, index: number) => number, forMs: number): void {
  fault(world, { kind: 'partition', atMs: 0, forMs, sides: [...world.hosts.map(sideOf), 0] })
}

/** The holder and one more on side 1, with most voters on side 0. */
export function withHolder(world: World): (host: Host) => number {
  const holder = holderOf(world)
  const other = world.hosts.find((host) => host !== holder)
  return (host) => (host === holder || host === other ? 1 : 0)
}
