/** How much faster than real time the simulator runs whole agents: a line of JSON for each cluster. Part of `make bench`. */
import { fault } from '../sim/faults.ts'
import { People } from '../sim/people.ts'
import { World } from '../sim/world.ts'

const minute = 60_000

const shape = {
  image: 'web:1',
  global: false,
  checked: true,
  parallelism: 2,
  order: 'start-first',
  onFailure: 'continue',
} as const

/** Somebody scales or updates, or a container crashes, once in `everyMs`; 0: nobody does anything. */
async function speedOf(hosts: number, everyMs: number, virtualMs: number): Promise<number> {
  const world = await World.of({ seed: 1, hosts })
  const people = new People(world)
  const say = people.say.bind(people)
  await world.during(
    say({ kind: 'deploy', atMs: 0, via: 0, service: 'web', shape: { ...shape, replicas: 3 * hosts } }),
  )
  // Until the deploy, and all that it makes the agents tell each other, is over.
  await world.pass(2 * minute)
  const turns = everyMs === 0 ? 0 : Math.floor(virtualMs / everyMs)
  for (let turn = 0; turn < turns; turn += 1) {
    const atMs = turn * everyMs
    world.clock.after(atMs, () => {
      if (turn % 3 === 0) {
        void say({ kind: 'scale', atMs, via: turn, service: 'web', replicas: 3 * hosts + (turn % 2) })
      } else if (turn % 3 === 1)
        void say({ kind: 'image', atMs, via: turn, service: 'web', image: `web:${turn}` })
      else fault(world, { kind: 'container ends', atMs, forMs: 0, host: turn, which: turn, exitCode: 1 })
    })
  }
  const begunAt = performance.now()
  await world.pass(virtualMs)
  return Math.round(virtualMs / (performance.now() - begunAt))
}

for (const [hosts, everyMs, virtualMs] of [
  [5, 0, 60 * minute],
  [5, 5 * minute, 60 * minute],
  [5, minute, 30 * minute],
  [50, 0, 10 * minute],
  [50, 5 * minute, 10 * minute],
] as const) {
  const timesRealTime = await speedOf(hosts, everyMs, virtualMs)
  console.log(
    JSON.stringify({
      bench: 'simulator',
      hosts,
      tasks: 3 * hosts,
      somethingEverySeconds: everyMs / 1_000,
      timesRealTime,
    }),
  )
}
