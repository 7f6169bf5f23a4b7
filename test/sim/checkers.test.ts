import { specDigest, type Storage, updateFact } from '@moot/crdt-state'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Liveness } from '../../packages/agent/src/core/membership/liveness.ts'
import type { Draft } from '../../packages/agent/src/core/reconcile/draft.ts'
import type { Mesh } from '../../packages/agent/src/ports/mesh.ts'
import type { Engine } from '../../packages/agent/src/ports/engine.ts'
import type { Act, Plan } from './acts.ts'
import type { Sabotage } from './sabotage.ts'
import { Life, processEngine, processMesh, processStorage } from './process.ts'
import { run } from './run.ts'

/** Each promise is broken on purpose; whoever watches over it has to tell. */

const shape = {
  image: 'web:1',
  global: false,
  replicas: 4,
  checked: false,
  parallelism: 1,
  order: 'stop-first',
  onFailure: 'continue',
} as const
const deploy = { kind: 'deploy', atMs: 1_000, via: 0, service: 'web', shape } as const
const update = { kind: 'image', atMs: 10_000, via: 1, service: 'web', image: 'web:2' } as const
const badUpdate = { ...update, image: 'web:bad2' }

function planWith(acts: readonly Act[], given: Partial<Plan> = {}): Plan {
  return { hosts: 4, founders: 4, acts: [deploy, ...acts], wholeNetwork: false, calmAtMs: 30_000, ...given }
}

const runs = async (plan: Plan, sabotage?: Sabotage): Promise<readonly string[]> =>
  (await run({ seed: 1, plan, sabotage })).wrong
const partition = { kind: 'partition', atMs: 8_000, forMs: 15_000, sides: [0, 0, 1, 1] } as const
const allOff = [0, 1, 2, 3].map((host) => ({ kind: 'power off', atMs: 12_000, forMs: 5_000, host }) as const)

/** As they are: calls that nothing holds up. */
const callsOf = (engine: Engine): Engine =>
  processEngine(engine, new Life(), {
    now: (told) => told,
    onCreate: () => undefined,
    onStop: () => undefined,
  })
const callsOfMesh = (mesh: Mesh): Mesh => processMesh(mesh, new Life())
const callsOfStorage = (storage: Storage): Storage => processStorage(storage, new Life(), () => undefined)

/** The simulator with one function of the product replaced. */
async function runWithRule(path: string, replaced: object, plan: Plan): Promise<readonly string[]> {
  vi.resetModules()
  vi.doMock(path, async (original) => ({ ...(await original<object>()), ...replaced }))
  const { run: broken } = await import('./run.ts')
  return (await broken({ seed: 1, plan })).wrong
}

afterEach(() => {
  vi.doUnmock('../../packages/agent/src/core/explain/explain.ts')
  vi.doUnmock('../../packages/agent/src/core/reconcile/claim.ts')
  vi.doUnmock('../../packages/agent/src/core/reconcile/draft.ts')
  vi.doUnmock('../../packages/agent/src/core/reconcile/progress.ts')
  vi.doUnmock('../../packages/agent/src/core/reconcile/illness.ts')
  vi.doUnmock('../../packages/agent/src/core/reconcile/tidy.ts')
  vi.doUnmock('../../packages/agent/src/core/placement/last-fold.ts')
  vi.doUnmock('../../packages/agent/src/core/placement/filters/availability.ts')
  vi.doUnmock('../../packages/agent/src/core/membership/island.ts')
  vi.doUnmock('../../packages/agent/src/core/membership/liveness.ts')
  vi.doUnmock('../../packages/agent/src/core/lease/partition-label.ts')
})

describe('a world in which nothing is broken', () => {
  test.each([
    ['deploys and updates', planWith([update])],
    ['parts and comes together again', planWith([partition, update])],
    ['goes dark and comes back', planWith([...allOff])],
    ['does so on a whole network', planWith([update], { wholeNetwork: true })],
  ])('%s, and nobody complains', async (_, plan) => {
    expect(await runs(plan)).toEqual([])
  })
})

describe('who watches over', () => {
  test('convergence tells of a host that stops nothing and says it has', async () => {
    const stopsNothing: Sabotage = {
      engine: (engine) => ({
        ...callsOf(engine),
        // As long as an engine needs.
        stop: async (_container, _graceMs, signal) => void (await engine.list(signal)),
      }),
    }
    expect(await runs(planWith([update]), stopsNothing)).toContainEqual(
      expect.stringMatching(/runs 2 times|runs an older spec/),
    )
  })

  test('convergence tells of a drained host that goes on running what it ran', async () => {
    const everywhere = { ...deploy, service: 'db', shape: { ...shape, global: true } }
    const drained = planWith([everywhere], { drainedInTheEnd: 3 })
    expect(await runs(drained)).toEqual([])
    const path = '../../packages/agent/src/core/placement/filters/availability.ts'
    const { drainFilter } = await import('../../packages/agent/src/core/placement/filters/availability.ts')
    const keepsAll = { drainFilter: { ...drainFilter, passes: () => true } }
    const wrong = await runWithRule(path, keepsAll, drained)
    expect(wrong).toContainEqual(expect.stringMatching(/^host4 is drained and runs web\.\d$/))
    expect(wrong).toContainEqual(expect.stringMatching(/^host4 is drained and runs db\.\w+$/))
  })

  test('agreement tells of hosts that never hear of each other again', async () => {
    const endless = { ...partition, forMs: 10_000_000 }
    const wrong = await runs(planWith([endless, update]))
    expect(wrong).toContainEqual(expect.stringMatching(/^hosts disagree on services/))
    expect(wrong).toContainEqual(expect.stringMatching(/^node \S+ is down/))
    expect(wrong).toContainEqual(expect.stringMatching(/^slot \S+ is placed differently/))
    expect(wrong).toContainEqual(expect.stringMatching(/runs 2 times/))
  })

  test('durability tells of an answer that was given before anything was on a disk', async () => {
    const doesNotSync: Sabotage = {
      storage: (storage) => ({
        ...callsOfStorage(storage),
        commit(writes) {
          storage.cache(writes)
          return Promise.resolve()
        },
      }),
    }
    expect(await runs(planWith(allOff), doesNotSync)).toContainEqual(
      'write1 on web was acknowledged and is lost',
    )
  })

  test('determinism tells of an agent that remembers what was right once', async () => {
    const { LastFold } = await import('../../packages/agent/src/core/placement/last-fold.ts')
    class NeverForgets extends LastFold {
      override forget(): void {
        // What was decided stays decided.
      }
    }
    const scale = { kind: 'scale', atMs: 10_000, via: 2, service: 'web', replicas: 9 } as const
    const drain = { kind: 'availability', atMs: 10_010, via: 2, host: 1, state: 'drain' } as const
    const full = { kind: 'disk full', atMs: 9_000, forMs: 8_000, host: 1 } as const
    const wrong = await runWithRule(
      '../../packages/agent/src/core/placement/last-fold.ts',
      { LastFold: NeverForgets },
      planWith([full, scale, drain]),
    )
    expect(wrong).toContainEqual(expect.stringMatching(/otherwise than its view says/))
  })

  test('stability tells of an agent that takes healthy containers for sick ones', async () => {
    const misreads: Sabotage = {
      engine: (engine) => ({
        ...callsOf(engine),
        list: async (signal) =>
          (await engine.list(signal)).map((each) => ({ ...each, health: 'unhealthy' as const })),
      }),
    }
    const checked = { ...deploy, shape: { ...shape, checked: true } }
    const plan = { ...planWith([], { calmAtMs: 90_000 }), acts: [checked] }
    expect(await runs(plan, misreads)).toContainEqual(
      expect.stringMatching(/^host\d stopped web\.\d without a cause$/),
    )
  })

  test('stability tells of an exclusive task that goes before the one it makes way for has its container', async () => {
    const exclusive = { ...deploy, shape: { ...shape, replicas: 5, exclusive: true } }
    const join = { kind: 'join', atMs: 8_000, via: 0, host: 3 } as const
    const slow = { kind: 'engine slow', atMs: 9_000, forMs: 20_000, host: 3, factor: 60 } as const
    const rebalance = { kind: 'rebalance', atMs: 15_000, via: 0 } as const
    const plan = { ...planWith([], { founders: 3 }), acts: [exclusive, join, slow, rebalance] }
    expect(await runs(plan)).toEqual([])
    const path = '../../packages/agent/src/core/reconcile/draft.ts'
    expect(await runWithRule(path, { isMade: () => true }, plan)).toContainEqual(
      expect.stringMatching(/^host\d stopped web\.\d without a cause$/),
    )
  })

  test('updates tells of an agent that waits for nobody', async () => {
    const wrong = await runWithRule(
      '../../packages/agent/src/core/reconcile/progress.ts',
      { mayBegin: () => true },
      planWith([update], { wholeNetwork: true }),
    )
    expect(wrong).toContainEqual('the update of web has 2 slots down at once, of 1 allowed')
  })

  test('updates tells of an agent that waits for nobody on nodes that all have a task of the service', async () => {
    const everywhere = { ...deploy, shape: { ...shape, global: true } }
    const plan = { ...planWith([], { wholeNetwork: true }), acts: [everywhere, update] }
    expect(await runs(plan)).toEqual([])
    const wrong = await runWithRule(
      '../../packages/agent/src/core/reconcile/progress.ts',
      { mayBegin: () => true },
      plan,
    )
    expect(wrong).toContainEqual('the update of web has 2 slots down at once, of 1 allowed')
  })

  test('updates tells of an agent that stops first what is to start first', async () => {
    const startFirst = { ...deploy, shape: { ...shape, order: 'start-first' as const } }
    const plan = { ...planWith([], { wholeNetwork: true }), acts: [startFirst, update] }
    expect(await runs(plan)).toEqual([])
    const path = '../../packages/agent/src/core/reconcile/progress.ts'
    const { updateConfigOf } = await import('../../packages/agent/src/core/reconcile/progress.ts')
    const stopsFirst: typeof updateConfigOf = (service) => ({
      Parallelism: 1,
      ...updateConfigOf(service),
      Order: 'stop-first',
    })
    expect(await runWithRule(path, { updateConfigOf: stopsFirst }, plan)).toContainEqual(
      'the update of web takes slot 1 down, whose next task is to start first',
    )
  })

  test('draining tells of an agent that does not wait for one of whom there is doubt', async () => {
    const networked = { ...deploy, shape: { ...shape, networked: true } }
    const parted = { ...partition, atMs: 10_000, forMs: 1_500, sides: [0, 0, 0, 1] } as const
    const scale = { kind: 'scale', atMs: 11_300, via: 0, service: 'web', replicas: 1 } as const
    const plan = { ...planWith([], { wholeNetwork: true }), acts: [networked, parted, scale] }
    expect(await runs(plan)).toEqual([])
    const isUp = (liveness?: Liveness): boolean => liveness?.kind === 'alive'
    const wrong = await runWithRule('../../packages/agent/src/core/membership/liveness.ts', { isUp }, plan)
    expect(wrong).toContainEqual(expect.stringMatching(/^host\d stops web\.\d while host4 sends it traffic$/))
  })

  test('evictions tells of agents that take one that only stands still for dead', async () => {
    const hearsNoKernel: Sabotage = {
      mesh: (mesh) => ({
        ...callsOfMesh(mesh),
        async probe(node, timeoutMs) {
          const found = await mesh.probe(node, timeoutMs)
          return found.kind === 'refused' ? { kind: 'silent' } : found
        },
      }),
    }
    const pause = { kind: 'pause agent', atMs: 10_000, forMs: 3_000, host: 3 } as const
    expect(await runs(planWith([pause]))).toEqual([])
    const wrong = await runs(planWith([pause]), hearsNoKernel)
    expect(wrong).toContainEqual(expect.stringMatching(/^host\d takes host4 for dead/))
    expect(wrong).toContainEqual(expect.stringMatching(/stopped web\.\d without a cause$/))
  })

  test('ill health tells of an agent that stops all that is ill at once', async () => {
    const illness = { kind: 'service ill', atMs: 10_000, forMs: 15_000, service: 'web' } as const
    const probed = { ...deploy, shape: { ...shape, probed: ['ready', 'live'] as const } }
    const plan = { ...planWith([], { wholeNetwork: true }), acts: [probed, illness] }
    expect(await runs(plan)).toEqual([])
    const wrong = await runWithRule(
      '../../packages/agent/src/core/reconcile/illness.ts',
      { isItsTurn: () => true },
      plan,
    )
    expect(wrong).toContainEqual(expect.stringMatching(/^2 of web are down for ill health/))
  })

  test('ill health allows what has served nobody: it got well while its engine was down', async () => {
    const illness = { kind: 'service ill', atMs: 15_000, forMs: 15_000, service: 'web' } as const
    const down = { kind: 'engine down', atMs: deploy.atMs + 500, forMs: 18_000, host: 2 } as const
    const probed = { ...deploy, shape: { ...shape, probed: ['ready', 'live'] as const } }
    expect(await runs({ ...planWith([], { wholeNetwork: true }), acts: [probed, down, illness] })).toEqual([])
  })

  test('stability allows what a drain has begun to end, though the host is active again by then', async () => {
    const everywhere = { ...deploy, shape: { ...shape, global: true, networked: true } }
    const pause = { kind: 'pause agent', atMs: 10_000, forMs: 6_000, host: 2 } as const
    const on = { kind: 'availability', via: 1, host: 0 } as const
    const drain = { ...on, atMs: 10_100, state: 'drain' } as const
    const active = { ...on, atMs: 10_900, state: 'active' } as const
    expect(
      await runs({ ...planWith([pause, drain, active]), acts: [everywhere, pause, drain, active] }),
    ).toEqual([])
  })

  test('turns allows a host that leaves in the middle of its steps: what it ran is placed anew', async () => {
    const leave = { kind: 'leave', atMs: update.atMs + 225, via: 1, host: 0 } as const
    const five = { ...deploy, shape: { ...shape, replicas: 5, checked: true, parallelism: 2 } }
    expect(await runs({ ...planWith([], { wholeNetwork: true }), acts: [five, update, leave] })).toEqual([])
  })

  test('turns tells of an agent that tries a spec everywhere before it has proved itself', async () => {
    const startFirst = { ...deploy, shape: { ...shape, checked: true, order: 'start-first' as const } }
    const plan = { ...planWith([], { wholeNetwork: true }), acts: [startFirst, update] }
    expect(await runs(plan)).toEqual([])
    const wrong = await runWithRule(
      '../../packages/agent/src/core/reconcile/progress.ts',
      { mayBegin: () => true },
      plan,
    )
    expect(wrong).toContainEqual('the update of web tries a spec in 2 slots at once, of 1 allowed')
  })

  test('turns tells of an agent that claims the slots of one that leaves with a spec that has been well nowhere', async () => {
    const path = '../../packages/agent/src/core/reconcile/claim.ts'
    const { claimVacant } = await import('../../packages/agent/src/core/reconcile/claim.ts')
    const takesAllForProven = (draft: Draft): void => {
      const { view } = draft.input
      const services = new Map(
        [...view.services].map(([id, service]) => {
          const completed = [updateFact.completed(specDigest(service.spec)), true] as const
          return [id, { ...service, facts: new Map([...service.facts, completed]) }]
        }),
      )
      claimVacant({ ...draft, input: { ...draft.input, view: { ...view, services } } })
    }
    const five = { ...deploy, shape: { ...shape, replicas: 5, onFailure: 'pause' as const } }
    const leave = { kind: 'leave', atMs: 16_000, via: 0, host: 3 } as const
    const plan = {
      ...planWith([], { wholeNetwork: true, hosts: 5, founders: 5 }),
      acts: [five, badUpdate, leave],
    }
    expect(await runWithRule(path, { claimVacant: takesAllForProven }, plan)).toContainEqual(
      expect.stringMatching(
        /^web runs a spec that has been well nowhere in 2 slots \(1, \d\), of 1 allowed$/,
      ),
    )
  })

  test('bad updates tells of an agent that goes on with the next slot where one has failed', async () => {
    const path = '../../packages/agent/src/core/reconcile/progress.ts'
    const { ownProgress } = await import('../../packages/agent/src/core/reconcile/progress.ts')
    const goesOn: typeof ownProgress = (...asked) => ({ ...ownProgress(...asked), paused: false })
    const pauses = { ...deploy, shape: { ...shape, checked: true, onFailure: 'pause' as const } }
    const plan = { ...planWith([], { wholeNetwork: true }), acts: [pauses, badUpdate] }
    expect(await runs(plan)).toEqual([])
    const wrong = await runWithRule(path, { ownProgress: goesOn }, plan)
    expect(wrong).toContainEqual('an update of web that nowhere went well has 2 slots down, of 1 allowed')
    expect(wrong).toContainEqual('web runs a spec that has been well nowhere in 2 slots (1, 2), of 1 allowed')
  })

  test('islands tells of a host that sees nobody and runs the world', async () => {
    const island = planWith([{ ...partition, sides: [0, 0, 0, 1] }])
    expect(await runs(island)).toEqual([])
    const path = '../../packages/agent/src/core/membership/island.ts'
    const wrong = await runWithRule(path, { isCutOff: () => false }, island)
    expect(wrong).toContainEqual(expect.stringMatching(/^host4 is cut off and takes over web\.\d of host\d$/))
  })

  test('exclusive services tells of one that runs on both sides of a partition', async () => {
    const plan = planWith([{ ...deploy, service: 'db', shape: { ...shape, exclusive: true } }, partition])
    expect(await runs(plan)).toEqual([])
    const wrong = await runWithRule(
      '../../packages/agent/src/core/lease/partition-label.ts',
      { leasedServices: () => new Map() },
      plan,
    )
    expect(wrong).toContainEqual(expect.stringMatching(/^db\.\d is exclusive and runs twice/))
  })

  test('boundedness tells of agents that say everything a hundred times', async () => {
    const repeatsItself: Sabotage = {
      mesh: (mesh) => ({
        ...callsOfMesh(mesh),
        async probe(node, timeoutMs) {
          await Promise.all(Array.from({ length: 99 }, () => mesh.probe(node, timeoutMs)))
          return mesh.probe(node, timeoutMs)
        },
      }),
    }
    expect(await runs(planWith([]), repeatsItself)).toContainEqual(
      expect.stringMatching(/^each host sends \d+ messages a second/),
    )
  })

  test('boundedness tells of agents that say one change a hundred times', async () => {
    const insists: Sabotage = {
      mesh: (mesh) => ({
        ...callsOfMesh(mesh),
        async publish(topic, payload) {
          for (let time = 0; time < 100; time += 1) await mesh.publish(topic, payload)
        },
      }),
    }
    expect(await runs(planWith([]), insists)).toContainEqual(
      expect.stringMatching(/^each host sends \d+ messages for one change/),
    )
  })

  test('boundedness tells of timers that nobody cancels', async () => {
    const forgetsTimers: Sabotage = {
      clock: (clock) => ({
        monotonicMs: () => clock.monotonicMs(),
        bootMs: () => clock.bootMs(),
        wallMs: () => clock.wallMs(),
        sleep: (...given) => clock.sleep(...given),
        after(ms, callback) {
          clock.after(3_600_000, () => undefined)
          return clock.after(ms, callback)
        },
      }),
    }
    expect(await runs(planWith([]), forgetsTimers)).toContainEqual(
      expect.stringMatching(/^\d+ timers are set$/),
    )
  })

  test('boundedness tells of agents that remember every task', async () => {
    const crashes = Array.from({ length: 12 }, (_, index) => ({
      kind: 'container ends' as const,
      atMs: 5_000 + index * 4_000,
      forMs: 0,
      host: 0,
      which: 0,
      exitCode: 1,
    }))
    const wrong = await runWithRule(
      '../../packages/agent/src/core/reconcile/tidy.ts',
      { trimHistory: () => undefined },
      planWith(crashes, { calmAtMs: 60_000 }),
    )
    expect(wrong).toContainEqual(expect.stringMatching(/^host\d knows \d+ tasks of slot /))
  })

  test('visibility tells of a write that is told to nobody', async () => {
    const saysNothing: Sabotage = {
      mesh: (mesh) => ({ ...callsOfMesh(mesh), publish: () => Promise.resolve() }),
    }
    expect(await runs(planWith([update]), saysNothing)).toContainEqual(
      expect.stringMatching(/^write\d+ on web is not seen everywhere after \d+ ms$/),
    )
  })

  test('rest tells of containers that come and go', async () => {
    const late = { kind: 'container ends', atMs: 200_000, forMs: 0, host: 0, which: 0, exitCode: 1 } as const
    expect(await runs(planWith([late]))).toContainEqual(
      expect.stringMatching(/^\d+ containers come or go at rest$/),
    )
  })

  test('reasons tells of a task that is about to be claimed for ever', async () => {
    const path = '../../packages/agent/src/core/reconcile/claim.ts'
    const wrong = await runWithRule(path, { claimVacant: () => undefined }, planWith([]))
    expect(wrong).toContainEqual(expect.stringMatching(/^\w+\.1 is about to be claimed for more than 15 s$/))
  })

  test('drains tells of a node that stops what runs before its successor does', async () => {
    const drain = { kind: 'availability', atMs: 10_000, via: 0, host: 1, state: 'drain' } as const
    const checked = { ...deploy, shape: { ...shape, checked: true } }
    const plan = { ...planWith([], { wholeNetwork: true }), acts: [checked, drain] }
    expect(await runs(plan)).toEqual([])
    const path = '../../packages/agent/src/core/reconcile/draft.ts'
    expect(await runWithRule(path, { wasStarted: () => false }, plan)).toContainEqual(
      expect.stringMatching(/^host2 is drained and stops web\.\d before its successor is well$/),
    )
  })

  test('reasons tells of a task that waits and does not say for what', async () => {
    const nowhere = { kind: 'availability', atMs: 500, via: 0, state: 'drain' } as const
    const drained = [0, 1, 2, 3].map((host) => ({ ...nowhere, host }))
    const wrong = await runWithRule(
      '../../packages/agent/src/core/explain/explain.ts',
      { taskError: () => '' },
      planWith(drained),
    )
    expect(wrong).toContainEqual(expect.stringMatching(/is pending without a reason$/))
  })
})
