import { type Resource, type ServiceId, type ServiceSpec, specDigest, updateFact } from '@moot/crdt-state'
import { afterEach, describe, expect, it } from 'vitest'
import { author, type Machine, webSpec, World } from './agent.testing.ts'
import { updateStatus } from './core/reconcile/progress.ts'
import { isStewardOf } from './core/steward.ts'
import { TaskRejectedError } from './ports/engine.errors.ts'

const gibibyte = 1024 ** 3
const minuteMs = 60_000

/** Updates of whole agents, of shapes and at moments that the simulator does not draw. */
describe('an update', () => {
  let world: World
  afterEach(async () => world.stop())

  const nth = (index: number): Machine => world.nth(index)
  /** Whose view is looked at: the first that is in the cluster. */
  const asked = (): Machine => world.machines.find(({ agent }) => agent.state().kind === 'active') ?? nth(0)
  const serviceOf = (name: string, by = asked()): Resource<ServiceSpec> => {
    const found = [...by.agent.view().services.values()].find((service) => service.name === name)
    if (found === undefined) throw new Error(`no service ${name}`)
    return found
  }
  const stateOf = (name = 'web', by = asked()): string | undefined =>
    updateStatus(by.agent.view(), serviceOf(name, by), by.agent.liveness())?.State
  const write = async (
    change: (spec: ServiceSpec) => ServiceSpec,
    name = 'web',
    by = asked(),
  ): Promise<void> => {
    const { id, versionIndex, spec } = serviceOf(name, by)
    await world.during(by.agent.update('service', id, versionIndex, change(spec), author))
  }
  const image =
    (Image: string) =>
    (spec: ServiceSpec): ServiceSpec => {
      const { TaskTemplate: template } = spec
      const ContainerSpec = { ...template.ContainerSpec, Image }
      return { ...spec, TaskTemplate: { ...template, ContainerSpec } }
    }
  const replicas =
    (Replicas: number) =>
    (spec: ServiceSpec): ServiceSpec => ({ ...spec, Mode: { Replicated: { Replicas } } })
  const imageOf = (name = 'web'): string => serviceOf(name).spec.TaskTemplate.ContainerSpec.Image
  const begun = async (hosts: number, ...specs: readonly ServiceSpec[]): Promise<void> => {
    world = await World.of(hosts)
    for (const spec of specs) await world.during(nth(0).agent.create('service', spec.Name, spec, author))
    await world.pass(10_000)
  }
  const web = (
    count: number,
    config: Partial<NonNullable<ServiceSpec['UpdateConfig']>> = {},
  ): ServiceSpec => ({
    ...webSpec(count),
    UpdateConfig: { Parallelism: 1, ...config },
  })
  const reserving = (spec: ServiceSpec, MemoryBytes: number): ServiceSpec => ({
    ...spec,
    TaskTemplate: { ...spec.TaskTemplate, Resources: { Reservations: { MemoryBytes } } },
  })
  /** Where the newest task of a slot is. */
  const holderOf = (slot: number, attempt: number): Machine | undefined =>
    world.machines.find(({ agent, node }) =>
      [...(agent.view().records.get(node)?.tasks.values() ?? [])].some(
        (task) => task.slot === slot && task.attempt === attempt && task.state === 'running',
      ),
    )
  const crashOn = ({ engine }: Machine): void => {
    const found = engine.containers().find(({ observation }) => observation.state === 'running')
    if (found === undefined) throw new Error('nothing runs there')
    engine.crash(found.observation.task)
  }
  const goOn = async (): Promise<void> => {
    const { id, spec } = serviceOf('web')
    const facts = new Map([[updateFact.resumed(specDigest(spec), 'me'), {}]])
    await world.during(nth(0).agent.addFacts('service', id, facts, author))
  }
  /** For so long each container of the new image ends so long after its start. */
  const crashing = async (forMs: number, afterMs: number): Promise<void> => {
    const sinceMs = new Map<string, number>()
    for (let atMs = 0; atMs < forMs; atMs += 100) {
      await world.pass(100)
      for (const { engine } of world.machines) {
        for (const { setup, observation } of engine.containers()) {
          const isNew = setup.spec.TaskTemplate.ContainerSpec.Image === 'moot/test:2'
          if (!isNew || observation.state !== 'running') continue
          const since = sinceMs.get(observation.container) ?? atMs
          sinceMs.set(observation.container, since)
          if (atMs - since >= afterMs) engine.crash(observation.task)
        }
      }
    }
  }
  const tasksOf = (name = 'web'): readonly string[] => {
    const { id, spec } = serviceOf(name)
    return [...asked().agent.view().records.values()]
      .flatMap(({ tasks }) => [...tasks.values()])
      .filter(
        (task) =>
          task.service === (id as ServiceId) && task.desired === 'running' && task.state === 'running',
      )
      .map((task) => (task.digest === specDigest(spec) ? 'new' : 'old'))
      .toSorted()
  }

  it('goes on where the engine of a host that is in its step goes down for good', async () => {
    await begun(4, web(4))
    await write(image('moot/test:2'))
    let sick: Machine | undefined
    await world.until('another is in its step', () => {
      sick = world.machines
        .slice(1)
        .find(({ agent, node }) =>
          [...(agent.view().records.get(node)?.updates.values() ?? [])].some(({ slots }) =>
            Object.values(slots).some(({ state }) => state === 'begun'),
          ),
        )
      return sick !== undefined
    })
    sick?.engine.down()
    await world.pass(6 * minuteMs)
    expect(stateOf()).toBe('completed')
    expect(tasksOf().filter((each) => each === 'new').length).toBeGreaterThanOrEqual(4)
  })

  it('of a global service waits for no host whose engine is down, and reaches it when it is back', async () => {
    await begun(4, { ...web(1), Mode: { Global: {} } })
    const [first, second] = world.machines.toSorted((a, b) => (a.node < b.node ? -1 : 1))
    first?.engine.down()
    await world.pass(minuteMs)
    await write(image('moot/test:2'), 'web', second)
    await world.pass(minuteMs)
    expect(stateOf('web', second)).toBe('completed')
    expect(tasksOf()).toEqual(['new', 'new', 'new', 'old'])
    first?.engine.up()
    await world.pass(minuteMs)
    expect(stateOf('web', second)).toBe('completed')
    expect(tasksOf()).toEqual(['new', 'new', 'new', 'new'])
  })

  it('watches the first slot that it can change, though one that it cannot stands before it', async () => {
    await begun(6, { ...web(1, { FailureAction: 'pause' }), Mode: { Global: {} } })
    const [first, second] = world.machines.toSorted((a, b) => (a.node < b.node ? -1 : 1))
    first?.engine.down()
    await world.pass(minuteMs)
    await write(image('moot/test:2'), 'web', second)
    await crashing(20_000, 2_000)
    expect(stateOf('web', second)).toBe('paused')
    expect(tasksOf().filter((each) => each === 'old')).toHaveLength(5)
  })

  it('that failed on a host goes on without it once people say so, its engine having gone for good', async () => {
    await begun(4, { ...web(1), Mode: { Global: {} } })
    const [first, second] = world.machines.toSorted((a, b) => (a.node < b.node ? -1 : 1))
    await write(image('moot/test:2'), 'web', second)
    await crashing(8_000, 1_000)
    expect(stateOf('web', second)).toBe('paused')
    first?.engine.down()
    await world.pass(minuteMs)
    await goOn()
    await world.pass(minuteMs)
    expect(stateOf('web', second)).toBe('completed')
  })

  it('that fails goes back although the engine of the one that would say so is down', async () => {
    await begun(4, { ...web(1, { FailureAction: 'rollback' }), Mode: { Global: {} } })
    const { id } = serviceOf('web')
    const nodes = world.machines.map(({ node }) => node)
    const steward = world.machines.find(({ agent, node }) => isStewardOf(id, node, nodes, agent.liveness()))
    const by = world.machines.find((machine) => machine !== steward)
    steward?.engine.down()
    await world.pass(minuteMs)
    await write(image('moot/missing:2'), 'web', by)
    await world.pass(minuteMs)
    expect(stateOf('web', by)).toBe('rollback_completed')
    expect(imageOf()).toBe('moot/test:1')
  })

  it('of two services at once fits on hosts that have room for each task once', async () => {
    const one = (name: string): ServiceSpec => ({ ...reserving(web(3), 3 * gibibyte), Name: name })
    await begun(3, one('web'), one('api'))
    await Promise.all([write(image('moot/test:2')), write(image('moot/test:2'), 'api')])
    await world.pass(minuteMs)
    expect([stateOf('web'), stateOf('api')]).toEqual(['completed', 'completed'])
    expect([...tasksOf('web'), ...tasksOf('api')]).toEqual(Array.from({ length: 6 }, () => 'new'))
  })

  it.each(['host port', 'memory'])(
    'that starts first wanders through one spare host, for want of %s',
    async (of) => {
      const spec = web(3, { Order: 'start-first', Monitor: 1e9 })
      const Ports = [
        { Protocol: 'tcp' as const, TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' as const },
      ]
      const tight =
        of === 'memory'
          ? reserving(spec, 5 * gibibyte)
          : { ...spec, EndpointSpec: { Mode: 'vip' as const, Ports } }
      await begun(4, tight)
      await write(image('moot/test:2'))
      await world.pass(minuteMs)
      expect(stateOf()).toBe('completed')
      expect(tasksOf()).toEqual(['new', 'new', 'new'])
    },
  )

  it('that is over is not undone by what crashes later', async () => {
    await begun(3, web(3))
    await write(image('moot/test:2'))
    await world.pass(11 * minuteMs)
    crashOn(nth(1))
    await world.pass(3_000)
    crashOn(nth(1))
    await world.pass(minuteMs)
    expect(stateOf()).toBe('completed')
  })

  it('is not failed by what crashes while the next slot waits for its Delay', async () => {
    await begun(3, web(3, { FailureAction: 'rollback', Delay: 60e9 }))
    await write(image('moot/test:2'))
    let holder: Machine | undefined
    await world.until('its first slot is up', () => (holder = holderOf(1, 2)) !== undefined)
    await world.pass(30_000)
    crashOn(holder!)
    await world.pass(5 * minuteMs)
    expect(stateOf()).toBe('completed')
    expect(tasksOf()).toEqual(['new', 'new', 'new'])
  })

  it('does not wait for ever for one that ends again and again, but after it has stood its time', async () => {
    await begun(3, web(3, { Delay: 30e9 }))
    await write(image('moot/test:2'))
    await crashing(8 * minuteMs, 15_000)
    expect(stateOf()).toBe('completed')
  })

  it('reaches the slot whose failure was tolerated in the end', async () => {
    await begun(4, web(4, { FailureAction: 'rollback', MaxFailureRatio: 0.5 }))
    nth(1).engine.failNext('prepare', new TaskRejectedError('No such image: moot/test:2'))
    await write(image('moot/test:2'))
    await world.pass(2 * minuteMs)
    expect(stateOf()).toBe('completed')
    expect(tasksOf()).toEqual(['new', 'new', 'new', 'new'])
  })

  it('that was paused goes on once people say so', async () => {
    await begun(3, web(3))
    await write(image('moot/test:2'))
    let holder: Machine | undefined
    await world.until('its first slot is up', () => (holder = holderOf(1, 2)) !== undefined)
    crashOn(holder!)
    await world.pass(minuteMs)
    expect([stateOf(), tasksOf()]).toEqual(['paused', ['new', 'old', 'old']])
    await goOn()
    await world.pass(minuteMs)
    expect([stateOf(), tasksOf()]).toEqual(['completed', ['new', 'new', 'new']])
  })

  it('that was paused goes on past a slot that is not restarted', async () => {
    const spec = web(3)
    const { TaskTemplate: template } = spec
    await begun(3, { ...spec, TaskTemplate: { ...template, RestartPolicy: { Condition: 'none' } } })
    await write(image('moot/test:2'))
    let holder: Machine | undefined
    await world.until('its first slot is up', () => (holder = holderOf(1, 2)) !== undefined)
    crashOn(holder!)
    await world.pass(minuteMs)
    expect([stateOf(), tasksOf()]).toEqual(['paused', ['old', 'old']])
    await goOn()
    await world.pass(minuteMs)
    expect([stateOf(), tasksOf()]).toEqual(['completed', ['new', 'new']])
  })

  it.each([
    ['another replica is', 2],
    ['what has failed is', 1],
  ])(
    'that was paused costs no second replica where constraints forbid the host that %s on',
    async (_, on) => {
      await begun(4, web(4))
      const excluded = holderOf(on, 1)
      await write(image('moot/test:2'))
      await crashing(minuteMs / 2, 300)
      expect([stateOf(), tasksOf().filter((each) => each === 'old')]).toEqual([
        'paused',
        ['old', 'old', 'old'],
      ])
      const away = `node.id!=${excluded?.node}`
      await write(({ TaskTemplate, ...rest }) => ({
        ...rest,
        TaskTemplate: { ...TaskTemplate, Placement: { Constraints: [away] } },
      }))
      for (let passedMs = 0; passedMs < minuteMs; passedMs += 5_000) {
        await crashing(5_000, 300)
        expect(tasksOf().filter((each) => each === 'old')).toHaveLength(3)
      }
      expect(stateOf()).toBe('paused')
      await write(image('moot/test:1'))
      await world.pass(minuteMs)
      expect([stateOf(), tasksOf()]).toEqual(['completed', ['new', 'new', 'new', 'new']])
      const left = excluded?.engine.containers().filter(({ observation }) => observation.state === 'running')
      expect(left).toEqual([])
    },
  )

  it('that is past has no state once the service is written again', async () => {
    await begun(3, web(3))
    await write(image('moot/test:2'))
    await world.pass(minuteMs)
    expect(stateOf()).toBe('completed')
    await write(replicas(6))
    expect(stateOf()).toBeUndefined()
    await world.runs(6)
    expect(stateOf()).toBeUndefined()
  })

  it('that fails goes back to what has run in full, though it came while there were no replicas', async () => {
    await begun(3, web(3, { FailureAction: 'rollback' }))
    for (const change of [replicas(0), image('moot/test:2'), replicas(3), image('moot/missing:3')]) {
      await write(change)
      await world.pass(minuteMs)
    }
    expect([stateOf(), imageOf()]).toEqual(['rollback_completed', 'moot/test:2'])
    expect(tasksOf()).toEqual(['new', 'new', 'new'])
  })

  it('that fails goes back to what has run in full, though what was before it had no place', async () => {
    const spec = web(3, { FailureAction: 'rollback' })
    const { TaskTemplate: template } = spec
    const nowhere = { ...template, Placement: { Constraints: ['node.labels.x==y'] } }
    await begun(3, { ...spec, TaskTemplate: nowhere })
    await write(({ TaskTemplate, ...rest }) => ({
      ...rest,
      TaskTemplate: { ...TaskTemplate, Placement: {} },
    }))
    await write(image('moot/test:2'))
    await world.pass(minuteMs)
    await write(image('moot/missing:3'))
    await world.pass(minuteMs)
    expect([stateOf(), imageOf()]).toEqual(['rollback_completed', 'moot/test:2'])
    expect(tasksOf()).toEqual(['new', 'new', 'new'])
  })

  describe('that is paused brings its spec to no slot whose turn has not come', () => {
    const slotsOnNew = (): readonly (number | string)[] =>
      world.machines
        .flatMap(({ engine }) => engine.containers())
        .filter(({ setup }) => setup.spec.TaskTemplate.ContainerSpec.Image === 'moot/test:2')
        .map(({ setup }) => setup.task.slot)
    const paused = async (spec: ServiceSpec): Promise<Machine> => {
      await begun(5, spec)
      await write(image('moot/test:2'))
      await crashing(10_000, 500)
      expect(stateOf()).toBe('paused')
      const [begunSlot] = slotsOnNew()
      return world.machines.find(
        ({ agent, engine }, index) =>
          index > 0 &&
          agent.view().services.size > 0 &&
          engine.containers().length > 0 &&
          engine.containers().every(({ setup }) => setup.task.slot !== begunSlot),
      )!
    }
    const availability = async ({ node }: Machine, Availability: 'active' | 'drain'): Promise<void> => {
      const { id, versionIndex, spec } = asked().agent.view().nodes.get(node)!
      await world.during(asked().agent.update('node', id, versionIndex, { ...spec, Availability }, author))
    }

    const leave = async (leaving: Machine): Promise<void> => {
      await world.during(leaving.agent.leave({ author, force: false }))
      await crashing(20_000, 500)
    }
    const holding = (slot: number): Machine | undefined =>
      world.machines.find(({ engine }) =>
        engine
          .containers()
          .some(({ setup, observation }) => setup.task.slot === slot && observation.state === 'running'),
      )

    it('when the node of the only other slot leaves, or is drained and active again', async () => {
      await begun(3, web(2))
      await write(image('moot/test:2'))
      await crashing(10_000, 500)
      await leave(holding(2)!)
      expect(new Set(slotsOnNew())).toEqual(new Set([1]))
      expect(tasksOf()).toContain('old')
      await world.stop()
      await begun(2, { ...web(1), Mode: { Global: {} } })
      await write(image('moot/test:2'))
      await crashing(10_000, 500)
      const [failing] = slotsOnNew()
      const other = world.machines.find(({ node }) => node !== failing)!
      await availability(other, 'drain')
      await crashing(5_000, 500)
      await availability(other, 'active')
      await crashing(10_000, 500)
      expect(new Set(slotsOnNew())).toEqual(new Set([failing]))
    })

    it('when it was written again meanwhile, and the node of the last slot leaves', async () => {
      const last = await paused(web(5)).then(() => holding(5)!)
      await write((spec) => ({ ...spec, Labels: { team: 'a' } }))
      await crashing(10_000, 500)
      await leave(last)
      expect(new Set(slotsOnNew()).size).toBe(1)
    })

    it('nor what an update before it has failed with, where more run that than what was well', async () => {
      await begun(6, web(5, { Parallelism: 3, Monitor: 20e9 }))
      await write(image('moot/test:2'))
      await crashing(60_000, 12_000)
      expect(stateOf()).toBe('paused')
      await write((spec) => ({ ...image('moot/missing:3')(spec), UpdateConfig: { Parallelism: 1 } }))
      await crashing(15_000, 12_000)
      const last = holding(5)!
      await world.during(last.agent.leave({ author, force: false }))
      await world.pass(3_000)
      const images = world.machines
        .flatMap(({ engine }) => engine.containers())
        .filter(({ setup }) => setup.task.slot === 5)
        .map(({ setup }) => setup.spec.TaskTemplate.ContainerSpec.Image)
      expect(images).toEqual(['moot/test:1'])
    })

    it('and asks a node that refuses the former spec again only after a while', async () => {
      await begun(3, reserving(web(3), 7.5 * gibibyte))
      await write((spec) => reserving(image('moot/test:2')(spec), gibibyte))
      await crashing(10_000, 500)
      expect(stateOf()).toBe('paused')
      const last = holding(3)!
      await world.during(last.agent.leave({ author, force: false }))
      await crashing(100_000, 500)
      const attempts = [...asked().agent.view().records.values()]
        .flatMap(({ tasks }) => [...tasks.values()])
        .filter(({ slot }) => slot === 3)
        .map(({ attempt }) => attempt)
      expect(Math.max(...attempts)).toBeLessThan(8)
      expect(new Set(slotsOnNew())).toEqual(new Set([1]))
    })

    it('nor one that goes on whatever fails: what is drained beside a failed step is moved as it is', async () => {
      await begun(4, web(3, { Order: 'start-first', FailureAction: 'continue' }))
      await write(image('moot/missing:2'))
      await world.pass(10_000)
      expect(tasksOf()).toEqual(['old', 'old', 'old'])
      const moved = holding(3)!
      await availability(moved, 'drain')
      await world.until('it is moved', () => holding(3) !== moved && tasksOf().length === 3, 5_000)
      expect(tasksOf()).toEqual(['old', 'old', 'old'])
    })

    it('when a node leaves', async () => {
      const leaving = await paused(web(5))
      await world.during(leaving.agent.leave({ author, force: false }))
      await crashing(20_000, 500)
      expect(new Set(slotsOnNew()).size).toBe(1)
      expect(tasksOf().filter((each) => each === 'old')).toHaveLength(4)
    })

    it('when a node of a global service is drained and active again', async () => {
      const drained = await paused({ ...web(1), Mode: { Global: {} } })
      await availability(drained, 'drain')
      await crashing(5_000, 500)
      await availability(drained, 'active')
      await crashing(10_000, 500)
      expect(new Set(slotsOnNew()).size).toBe(1)
      expect(tasksOf().filter((each) => each === 'old')).toHaveLength(4)
    })
  })

  it('gives new replicas its spec at once', async () => {
    await begun(3, web(2))
    await write((spec) => replicas(6)(image('moot/test:2')(spec)))
    await world.pass(1_500)
    expect(tasksOf().filter((each) => each === 'new').length).toBeGreaterThanOrEqual(4)
    await world.pass(minuteMs)
    expect([stateOf(), tasksOf()]).toEqual(['completed', Array.from({ length: 6 }, () => 'new')])
  })

  it('stops at the failure that is no longer tolerated, though none has settled well', async () => {
    await begun(4, web(4, { MaxFailureRatio: 0.5 }))
    await write(image('moot/test:2'))
    await crashing(30_000, 300)
    expect(stateOf()).toBe('paused')
    expect(tasksOf()).toContain('old')
  })
})
