import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Watchdog } from '../../packages/agent/src/ports/watchdog.ts'
import type { ExclusiveStage } from './exclusive-stage.ts'
import type { Sabotage } from './sabotage.ts'

/** What exclusivity rests on is taken away, one thing at a time; whoever watches over it has to tell. */

const paths = {
  times: '../../packages/agent/src/core/lease/times.ts',
  voter: '../../packages/agent/src/core/lease/voter.ts',
}
import type * as Times from '../../packages/agent/src/core/lease/times.ts'
import type * as Voter from '../../packages/agent/src/core/lease/voter.ts'
import type * as Stage from './exclusive-stage.ts'

const twice = expect.stringMatching(/^db\.1 is exclusive and runs twice: on host\d, and still on host\d$/)

/** Both sides of a partition from now on, and most voters on the side that does not hold. */
async function apart(
  seed: number,
  sabotage?: Sabotage,
): Promise<ExclusiveStage & { readonly stage: typeof Stage; readonly restart: () => Promise<void> }> {
  vi.resetModules()
  const stage = await import('./exclusive-stage.ts')
  const running = await stage.exclusiveStage(seed, sabotage)
  const { world } = running
  const holder = stage.holderOf(world)
  const sideOf = stage.withHolder(world)
  const others = world.hosts.filter((host) => sideOf(host) === 0)
  stage.part(world, sideOf, 60_000)
  // Neither it nor its engine stops anything.
  holder.life?.pause()
  holder.engine.hang()
  const restart = async (): Promise<void> => {
    for (const host of others) host.killAgent()
    await world.pass(500)
    for (const host of others) host.startAgentSoon()
  }
  return { ...running, stage, restart }
}

function broken<Module extends object>(path: string, how: (original: Module) => Partial<Module>): void {
  vi.doMock(path, async (importOriginal) => {
    const original = await importOriginal<Module>()
    return { ...original, ...how(original) }
  })
}

afterEach(() => {
  for (const path of Object.values(paths)) vi.doUnmock(path)
})

describe('exclusivity', () => {
  test('says nothing where nothing is taken away', async () => {
    const { world, violations, restart } = await apart(1)
    await restart()
    await world.pass(60_000)
    expect(violations).toEqual([])
  })

  test('tells of a watchdog that does nothing', async () => {
    const asleep = (watchdog: Watchdog): Watchdog => ({
      ...watchdog,
      arm: ({ deadlineMs }) => Promise.resolve({ kind: 'armed', deadlineMs }),
    })
    const { world, violations } = await apart(1, { watchdog: asleep })
    await world.pass(30_000)
    expect(violations).toContainEqual(twice)
  })

  test('tells of voters that hold for less than a lease', async () => {
    broken<typeof Times>(paths.times, ({ leaseTimes }) => ({
      leaseTimes: (settings) => ({ ...leaseTimes(settings), holdMs: 5_000 }),
    }))
    const { world, violations } = await apart(1)
    await world.pass(30_000)
    expect(violations).toContainEqual(twice)
  })

  test('tells of voters that forget at a restart', async () => {
    broken<typeof Voter>(paths.voter, ({ startVoter, noneKept }) => ({
      startVoter: (node, durable, _kept, ...rest) => startVoter(node, durable, noneKept, ...rest),
    }))
    const { world, violations, restart } = await apart(1)
    await restart()
    await world.pass(30_000)
    expect(violations).toContainEqual(twice)
  })

  test('tells of fences that are on no disk', async () => {
    broken<typeof Voter>(paths.voter, ({ startVoter }) => ({
      startVoter: (node, durable, ...rest) => startVoter(node, { ...durable, fence: 0 }, ...rest),
    }))
    const { world, violations, restart } = await apart(1)
    await world.pass(30_000)
    await restart()
    for (const host of world.hosts) host.powerOff()
    await world.pass(1_000)
    for (const host of world.hosts) host.powerOn()
    await world.pass(40_000)
    expect(violations).toContainEqual(
      expect.stringMatching(/^db\.1 runs on host\d with fence \d+ after \d+ on/),
    )
  })
})
