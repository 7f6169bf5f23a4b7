import { describe, expect, test } from 'vitest'
import { slotId, updateKey, type ServiceId, type SlotId } from '@moot/crdt-state'
import {
  cpu,
  execute,
  gibibyte,
  input,
  node,
  nodeId,
  replicas,
  service,
  task,
  withTasks,
} from './fixtures.ts'
import { createPlacer, place } from './place.ts'
import type { Placement, PlacementInput, SlotPlacement } from './placement.ts'

function nodesOf(placement: Placement): Map<SlotId, string | undefined> {
  return new Map([...placement.slots].map(([id, where]) => [id, nodeOf(where)]))
}

function nodeOf(where: SlotPlacement): string | undefined {
  if (where.kind === 'held') return where.holder.node
  return where.kind === 'pending' ? undefined : where.to
}

/** Everybody does what it is to do. */
function settle(state: PlacementInput): PlacementInput {
  let after = state
  for (const id of state.nodes.keys()) after = execute(after, place(after), id, Infinity)
  return after
}

const abc = [node('a'), node('b'), node('c')]

describe('slots of a service', () => {
  test('three replicas on three equal nodes are one each', () => {
    for (let index = 0; index < 50; index += 1) {
      const placement = place(input([service(`web${index}`, replicas(3))], abc))
      expect(new Set(nodesOf(placement).values()).size).toBe(3)
    }
  })

  test('go to a node on probation half as often as to the others', () => {
    const countsOf = (count: number, probation: readonly string[]): readonly number[] => {
      const nodes = ['a', 'b', 'c'].map((name) => node(name, { isOnProbation: probation.includes(name) }))
      const where = [...nodesOf(place(input([service('web', replicas(count))], nodes))).values()]
      return ['a', 'b', 'c'].map((name) => where.filter((each) => each === nodeId(name)).length)
    }
    expect(countsOf(2, ['a'])).toEqual([0, 1, 1])
    expect(countsOf(10, ['a'])).toEqual([2, 4, 4])
    expect(countsOf(3, ['a', 'b'])).toEqual([1, 1, 1])
    expect(countsOf(8, ['a', 'b'])).toEqual([2, 2, 4])
    expect(countsOf(6, ['a', 'b', 'c'])).toEqual([2, 2, 2])
  })

  test('that run on a node on probation stay there', () => {
    const web = service('web')
    const nodes = [node('a', { isOnProbation: true, tasks: [task(web, 1)] }), node('b')]
    expect(place(input([web], nodes)).slots.get(slotId(web.id as ServiceId, 1))).toMatchObject({
      kind: 'held',
      holder: { node: nodeId('a') },
    })
  })

  test('a service without a number of replicas has one', () => {
    expect(place(input([service('web', { Mode: { Replicated: {} } })], abc)).slots.size).toBe(1)
  })

  test('a job wants no slot yet', () => {
    expect(place(input([service('job', { Mode: { ReplicatedJob: {} } })], abc)).slots.size).toBe(0)
  })

  test('slots come in canonical order: global ones, then everyone’s first replica, then the second', () => {
    const [web, api, log] = [
      service('web', replicas(2)),
      service('api', replicas(3)),
      service('log', { Mode: { Global: {} } }),
    ]
    const order = [...place(input([web, api, log], abc)).slots.keys()].map((id) => id.slice(26))
    expect(order).toEqual([...['a', 'b', 'c'].map(nodeId), '1', '1', '2', '2', '3'])
  })

  test('the order of the maps makes no difference', () => {
    const services = ['web', 'api', 'db'].map((name) => service(name, replicas(3)))
    const there = place(input(services, abc))
    const back = place(input(services.toReversed(), abc.toReversed()))
    expect([...back.slots]).toEqual([...there.slots])
  })
})

describe('what runs stays', () => {
  const services = ['web', 'api', 'db', 'cache'].map((name) => service(name, replicas(4)))

  test('a joining node steals no running slot', () => {
    const before = settle(input(services, abc))
    const after = { ...before, nodes: new Map(before.nodes).set(nodeId('d'), node('d')) }
    expect(nodesOf(place(after))).toEqual(nodesOf(place(before)))
  })

  test('the death of a node moves its slots only', () => {
    const before = settle(input(services, abc))
    const dead = before.nodes.get(nodeId('b'))!
    const after = place({
      ...before,
      nodes: new Map(before.nodes).set(dead.id, { ...dead, liveness: { kind: 'down', observers: [] } }),
    })
    const stayed = [...nodesOf(place(before))].filter(([, where]) => where !== dead.id)
    expect(stayed.length).toBeGreaterThan(0)
    expect([...nodesOf(after)].filter(([id]) => new Map(stayed).has(id))).toEqual(stayed)
    expect([...nodesOf(after).values()]).not.toContain(dead.id)
  })

  test('a node that may be down keeps what it holds and gets nothing new', () => {
    const web = service('web', replicas(3))
    const suspect = node('a', { liveness: 'suspect', tasks: [task(web, 1)] })
    const placement = place(input([web], [suspect, node('b')]))
    expect([...nodesOf(placement).values()]).toEqual([nodeId('a'), nodeId('b'), nodeId('b')])
  })

  test('nobody takes over what a node gives up for an update while nobody can hear that node', () => {
    const web = service('web', replicas(1))
    const slot = slotId(web.id as ServiceId, 1)
    const leaves = { update: updateKey(web.spec), reason: 'asks for more than is left' }
    const unheard = node('a', { liveness: 'suspect', tasks: [task(web, 1, { leaves })] })
    const heard = { ...unheard, liveness: { kind: 'suspect', observers: [], isHeard: true } } as const
    const placer = createPlacer()
    const where = (holder: typeof unheard) => placer.update(input([web], [holder, node('b')])).slots.get(slot)
    expect(where(unheard)).toMatchObject({ kind: 'held', holder: { node: nodeId('a') } })
    expect(where(heard)).toMatchObject({ kind: 'moving', to: nodeId('b') })
    const drained = node('a', { liveness: 'suspect', availability: 'drain', tasks: [task(web, 1)] })
    expect(where(drained)).toMatchObject({ kind: 'moving', to: nodeId('b') })
  })

  test('scaling touches the slots concerned: the highest go', () => {
    const [six, three] = [service('web', replicas(6)), service('web', replicas(3))]
    const before = settle(input([six], abc))
    const smaller = place({ ...before, services: input([three], []).services })
    const six1to3 = [...nodesOf(place(before))].slice(0, 3)
    expect([...nodesOf(smaller)]).toEqual(six1to3)
    expect(smaller.surplus.map((claim) => claim.task.slot)).toEqual([4, 5, 6])
  })

  test('the claims of a removed service are surplus', () => {
    const web = service('web')
    expect(place(input([], [node('a', { tasks: [task(web, 1)] })])).surplus).toHaveLength(1)
  })

  test('a slot that is done stays where it ended, also when its node is drained or dies', () => {
    const once = service('once')
    const done = task(once, 1, { state: 'complete', done: true })
    for (const change of [{ availability: 'drain' }, { liveness: 'down' }] as const) {
      const placement = place(input([once], [node('a', { ...change, tasks: [done] }), node('b')]))
      expect(placement.slots.get(slotId(once.id as ServiceId, 1))).toMatchObject({ kind: 'held' })
    }
  })

  test('a done slot reserves nothing', () => {
    const once = service('once', {}, { Resources: { Reservations: { NanoCPUs: 4 * cpu } } })
    const other = service('other', {}, { Resources: { Reservations: { NanoCPUs: 4 * cpu } } })
    const a = node('a', { tasks: [task(once, 1, { state: 'complete', done: true })] })
    expect(place(input([once, other], [a])).slots.get(slotId(other.id as ServiceId, 1))?.kind).toBe('vacant')
  })

  test('the next attempt is above every attempt that is known, dead nodes’ and ended tasks’ too', () => {
    const web = service('web')
    const a = node('a', { liveness: 'down', tasks: [task(web, 1, { attempt: 4 })] })
    const b = node('b', { tasks: [task(web, 1, { attempt: 6, state: 'failed', desired: 'shutdown' })] })
    expect(place(input([web], [a, b])).slots.get(slotId(web.id as ServiceId, 1))).toMatchObject({
      attempt: 7,
    })
  })
})

describe('a slot with several claims', () => {
  const web = service('web')
  const slot = slotId(web.id as ServiceId, 1)

  test('goes to the lowest attempt, and the others lose', () => {
    const early = task(web, 1, { attempt: 1 })
    const late = task(web, 1, { attempt: 2 })
    const where = place(
      input([web], [node('a', { tasks: [late] }), node('b', { tasks: [early] })]),
    ).slots.get(slot)
    expect(where).toEqual({
      kind: 'held',
      holder: { node: nodeId('b'), task: early },
      losers: [{ node: nodeId('a'), task: late }],
    })
  })

  test('goes to who got the last lease of it, where it is exclusive: the others only wait for that', () => {
    const waiting = task(web, 1, { attempt: 1, state: 'ready' })
    const leased = task(web, 1, { attempt: 2, state: 'running', fence: 7 })
    const later = task(web, 1, { attempt: 3, state: 'starting', fence: 9 })
    const holderOf = (...tasks: (typeof waiting)[]): string | undefined => {
      const nodes = tasks.map((each, index) => node('abc'.charAt(index), { tasks: [each] }))
      const where = place(input([web], nodes)).slots.get(slot)
      return where?.kind === 'held' ? where.holder.node : undefined
    }
    expect(holderOf(waiting, leased)).toBe(nodeId('b'))
    expect(holderOf(waiting, leased, later)).toBe(nodeId('c'))
    expect(holderOf(waiting, { ...leased, fence: 0 })).toBe(nodeId('a'))
  })

  test('goes to a later attempt that runs before one of a node on probation, and to the lowest where all are', () => {
    const holderOf = (isSteady: boolean, state: 'starting' | 'running'): string | undefined => {
      const nodes = [
        node('a', { tasks: [task(web, 1, { attempt: 1, state: 'running' })], isOnProbation: true }),
        node('b', { tasks: [task(web, 1, { attempt: 2, state })], isOnProbation: !isSteady }),
      ]
      const where = place(input([web], nodes)).slots.get(slot)
      return where?.kind === 'held' ? where.holder.node : undefined
    }
    expect(holderOf(true, 'running')).toBe(nodeId('b'))
    expect(holderOf(true, 'starting')).toBe(nodeId('a'))
    expect(holderOf(false, 'running')).toBe(nodeId('a'))
  })

  test('of one node is one holder, its newest task', () => {
    const [old, fresh] = [task(web, 1, { attempt: 1 }), task(web, 1, { attempt: 3 })]
    const rival = task(web, 1, { attempt: 2 })
    const where = place(
      input([web], [node('a', { tasks: [fresh, old] }), node('b', { tasks: [rival] })]),
    ).slots.get(slot)
    expect(where).toEqual({
      kind: 'held',
      holder: { node: nodeId('a'), task: fresh },
      losers: [{ node: nodeId('b'), task: rival }],
    })
  })

  test('moves away from a drained node, first to nobody’s, then to its successor', () => {
    const held = task(web, 1)
    const state = input([web], [node('a', { availability: 'drain', tasks: [held] }), node('b')])
    const before = place(state).slots.get(slot)
    expect(before).toMatchObject({
      kind: 'moving',
      to: nodeId('b'),
      successor: undefined,
      holder: { task: held },
    })
    expect(before).toMatchObject({ because: { filter: 'availability', reason: 'is drained' } })
    const after = place(execute(state, place(state), nodeId('b'), 1)).slots.get(slot)
    expect(after).toMatchObject({ kind: 'moving', to: nodeId('b'), successor: { node: nodeId('b') } })
  })

  test('of several would-be successors the lowest attempt wins', () => {
    const nodes = [
      node('a', { availability: 'drain', tasks: [task(web, 1)] }),
      node('b', { tasks: [task(web, 1, { attempt: 3 })] }),
      node('c', { tasks: [task(web, 1, { attempt: 2 })] }),
    ]
    expect(place(input([web], nodes)).slots.get(slot)).toMatchObject({
      kind: 'moving',
      successor: { node: nodeId('c') },
      losers: [{ node: nodeId('b') }],
    })
  })

  test('stays with a claim that passes, whatever the attempt of one that does not and came later', () => {
    const nodes = [
      node('a', { tasks: [task(web, 1)] }),
      node('b', { availability: 'drain', tasks: [task(web, 1, { attempt: 2 })] }),
    ]
    expect(place(input([web], nodes)).slots.get(slot)).toMatchObject({
      kind: 'held',
      holder: { node: nodeId('a') },
      losers: [{ node: nodeId('b') }],
    })
  })
})

describe('global services', () => {
  const log = service(
    'log',
    { Mode: { Global: {} } },
    { Placement: { Constraints: ['node.labels.zone==eu'] } },
  )
  const slotOn = (name: string): SlotId => slotId(log.id as ServiceId, nodeId(name))

  test('have a slot on each node that matches, and nowhere else', () => {
    const eu = { labels: { zone: 'eu' } }
    const nodes = [
      node('a', eu),
      node('b', { labels: { zone: 'us' } }),
      node('c', { ...eu, availability: 'pause' }),
      node('d', { ...eu, availability: 'pause', tasks: [task(log, nodeId('d'))] }),
      node('e', { ...eu, availability: 'drain', tasks: [task(log, nodeId('e'))] }),
      node('f', { ...eu, liveness: 'down' }),
    ]
    const placement = place(input([log], nodes))
    expect([...placement.slots.keys()]).toEqual([slotOn('a'), slotOn('d')])
    expect(placement.slots.get(slotOn('d'))?.kind).toBe('held')
    expect(placement.surplus.map((claim) => claim.node)).toEqual([nodeId('e')])
  })

  test('wait on a node without room, which says why', () => {
    const big = service(
      'big',
      { Mode: { Global: {} } },
      { Resources: { Reservations: { MemoryBytes: 9 * gibibyte } } },
    )
    expect(place(input([big], [node('a')])).slots.get(slotId(big.id as ServiceId, nodeId('a')))).toEqual({
      kind: 'pending',
      refusals: [
        { node: nodeId('a'), filter: 'resources', reason: 'needs 9 GiB of memory, has 8 GiB free of 8 GiB' },
      ],
    })
  })
})

describe('spread preferences', () => {
  const spread = { Placement: { Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }] } }
  const zones = [
    node('a1', { labels: { zone: 'a' } }),
    node('a2', { labels: { zone: 'a' } }),
    node('a3', { labels: { zone: 'a' } }),
    node('b1', { labels: { zone: 'b' } }),
  ]

  test('give each zone the same number, however many nodes it has', () => {
    const placement = place(input([service('web', replicas(6), spread)], zones))
    const inB = [...nodesOf(placement).values()].filter((id) => id === nodeId('b1'))
    expect(inB).toHaveLength(3)
  })

  test('put the replacement of a drained task into the zone that loses it', () => {
    const web = service('web', replicas(4), spread)
    const settled = settle(input([web], zones))
    const from = [...nodesOf(place(settled)).values()].find((id) => id?.startsWith('a')) ?? ''
    const drained = node(from.slice(0, 2), { availability: 'drain', labels: { zone: 'a' } })
    const nodes = new Map(settled.nodes).set(
      drained.id,
      withTasks(drained, [...settled.nodes.get(drained.id)!.record!.tasks.values()]),
    )
    const moving = [...place({ ...settled, nodes }).slots.values()].filter((where) => where.kind === 'moving')
    expect(moving.map((where) => where.to?.slice(0, 1))).toEqual(['a'])
  })

  test('a claim lists the earlier vacancies that it assumed filled, as one run', () => {
    const web = service('web', replicas(5), spread)
    const fifth = place(input([web], zones)).slots.get(slotId(web.id as ServiceId, 5))
    expect(fifth).toMatchObject({ kind: 'vacant', assumed: [`${web.id}.1-4@1`] })
  })
})

describe('local volumes', () => {
  const mounts = { Mounts: [{ Type: 'volume', Source: 'data', Target: '/data' }] }
  const db = service('db', {}, {}, mounts)
  const slot = slotId(db.id as ServiceId, 1)

  test('a slot waits for the dead node that has its data, and says so', () => {
    const dead = node('a', { liveness: 'down', volumes: ['data'], tasks: [task(db, 1)] })
    const where = place(input([db], [dead, node('b')])).slots.get(slot)
    expect(where).toMatchObject({
      kind: 'pending',
      refusals: [
        { node: nodeId('a'), filter: 'liveness', reason: 'is down' },
        {
          node: nodeId('b'),
          filter: 'volumes',
          reason:
            'volume data is on a (which is down); the label moot.volume.move=true lets the service start elsewhere, without that data',
        },
      ],
    })
  })

  test('the label moot.volume.move=true lets it start elsewhere', () => {
    const moving = service('db', { Labels: { 'moot.volume.move': 'true' } }, {}, mounts)
    const dead = node('a', { liveness: 'down', volumes: ['data'], tasks: [task(moving, 1)] })
    expect(place(input([moving], [dead, node('b')])).slots.get(slot)).toMatchObject({ to: nodeId('b') })
  })

  test('a service that is scaled to 0 and back, or deployed again, returns to its data', () => {
    for (const home of ['a', 'b', 'c']) {
      const nodes = ['a', 'b', 'c'].map((name) => node(name, name === home ? { volumes: ['data'] } : {}))
      expect(place(input([db], nodes)).slots.get(slot)).toMatchObject({ to: nodeId(home) })
    }
  })

  test('a further replica starts on a node of its own, not on another’s data', () => {
    const two = service('db', replicas(2), {}, mounts)
    const nodes = [node('a', { volumes: ['data'], tasks: [task(two, 1)] }), node('b')]
    expect(place(input([two], nodes)).slots.get(slotId(two.id as ServiceId, 2))).toMatchObject({
      to: nodeId('b'),
    })
  })

  test('where each slot’s volume has a name of its own, each slot returns to its own', () => {
    const own = { Mounts: [{ Type: 'volume', Source: '{{.Service.Name}}-{{.Task.Slot}}', Target: '/data' }] }
    const two = service('db', replicas(2), {}, own)
    const [first, second] = [1, 2].map((number) => slotId(two.id as ServiceId, number))
    for (const [one, other] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      const nodes = [node(one, { volumes: ['db-1'] }), node(other, { volumes: ['db-2', 'db-12'] }), node('c')]
      const { slots } = place(input([two], nodes))
      expect(slots.get(first!)).toMatchObject({ to: nodeId(one) })
      expect(slots.get(second!)).toMatchObject({ to: nodeId(other) })
    }
    const dead = node('a', { liveness: 'down', volumes: ['db-1'], tasks: [task(two, 1)] })
    const { slots } = place(input([two], [dead, node('b')]))
    expect(slots.get(first!)).toMatchObject({ kind: 'pending' })
    expect(slots.get(second!)).toMatchObject({ to: nodeId('b') })
  })

  describe('with two volumes', () => {
    const two = (...Source: readonly string[]): Record<string, unknown> => ({
      Mounts: Source.map((each) => ({ Type: 'volume', Source: each, Target: `/${each}` })),
    })
    const both = service('db', replicas(2), {}, two('data', 'certs'))
    const [first, second] = [1, 2].map((number) => slotId(both.id as ServiceId, number))

    test('the nodes that have both are preferred to those that have one, whichever stood there before', () => {
      for (const home of ['a', 'b', 'c']) {
        const nodes = ['a', 'b', 'c'].map((name) =>
          node(name, { volumes: name === home ? ['certs', 'data'] : ['certs'] }),
        )
        expect(place(input([both], nodes)).slots.get(first!)).toMatchObject({ to: nodeId(home) })
      }
      const dead = node('a', {
        liveness: 'down',
        volumes: ['certs', 'data'],
        tasks: [task(both, 1, { attempt: 1 })],
      })
      const failed = { ...task(both, 1, { attempt: 2 }), state: 'rejected', desired: 'shutdown' } as const
      const later = node('b', { volumes: ['certs'], tasks: [failed] })
      expect(place(input([both], [dead, later])).slots.get(first!)).toMatchObject({ kind: 'pending' })
    })

    test('one that another service mounts too tells nothing of where the data is', () => {
      const web = service('web', {}, {}, two('certs'))
      const dead = node('a', { liveness: 'down', volumes: ['data'] })
      const { slots } = place(input([both, web], [dead, node('b', { volumes: ['certs'] })]))
      expect(slots.get(first!)).toMatchObject({
        kind: 'pending',
        refusals: [
          { filter: 'liveness' },
          { reason: expect.stringMatching(/^volumes data, certs are on a /) as unknown },
        ],
      })
      expect(slots.get(second!)).toMatchObject({ to: nodeId('b') })
    })

    test('a slot stays with the node that it ran on last, whatever of its volumes that has', () => {
      const volumes = ['certs', 'data']
      const ended = { ...task(both, 1), state: 'shutdown', desired: 'shutdown' } as const
      const stale = node('a', { volumes, tasks: [ended] })
      const last = node('b', { liveness: 'down', volumes: ['data'], tasks: [task(both, 1, { attempt: 2 })] })
      const elsewhere = service('backup', {}, {}, two('data'))
      const withOwn = service('db', {}, {}, two('data', 'cache-{{.Task.Slot}}'))
      for (const of of [both, withOwn]) {
        const { slots } = place(input([of, elsewhere], [stale, last, node('c')]))
        expect(slots.get(first!)).toMatchObject({ kind: 'pending' })
      }
    })

    test('one that has just been added tells nothing yet', () => {
      const backup = service('backup', {}, {}, two('data'))
      for (const of of [both, service('db', {}, {}, two('data', 'cache-{{.Task.Slot}}'))]) {
        for (const home of ['a', 'b', 'c']) {
          const nodes = ['a', 'b', 'c'].map((name) => node(name, name === home ? { volumes: ['data'] } : {}))
          expect(place(input([of, backup], nodes)).slots.get(first!)).toMatchObject({ to: nodeId(home) })
        }
      }
    })

    test('one that is only read tells nothing beside one that is written to', () => {
      const { Mounts } = two('data', 'certs') as { Mounts: readonly { Source: string }[] }
      const reading = Mounts.map((mount) => ({ ...mount, ReadOnly: mount.Source === 'certs' }))
      const db = service('db', {}, {}, { Mounts: reading })
      for (const home of ['a', 'b', 'c']) {
        const nodes = ['a', 'b', 'c'].map((name) =>
          node(name, { volumes: name === home ? ['data'] : ['certs'] }),
        )
        expect(place(input([db], nodes)).slots.get(first!)).toMatchObject({ to: nodeId(home) })
      }
    })

    test('a slot whose own is nowhere goes by the others', () => {
      const three = service('db', replicas(3), {}, two('data', 'cache-{{.Task.Slot}}'))
      const nodes = [
        node('a', { volumes: ['data', 'cache-1'], tasks: [task(three, 1)] }),
        ...['b', 'c', 'd', 'e', 'f'].map((name) => node(name, name < 'd' ? { volumes: ['data'] } : {})),
      ]
      const { slots } = place(input([three], nodes))
      const where = [2, 3].map((number) => slots.get(slotId(three.id as ServiceId, number)))
      expect(new Set(where.map((each) => (each?.kind === 'vacant' ? each.to : undefined)))).toEqual(
        new Set([nodeId('b'), nodeId('c')]),
      )
      const foreign = [node('a', { volumes: ['data'] }), node('b', { volumes: ['cache-web'] }), node('c')]
      expect(place(input([three], foreign)).slots.get(first!)).toMatchObject({ to: nodeId('a') })
    })

    test('a service that asks for no replica shares nothing', () => {
      const old = service('old', replicas(0), {}, two('data'))
      const nodes = [node('a', { volumes: ['data'] }), node('b', { volumes: ['certs'] })]
      const certs = service('certs', {}, {}, two('certs'))
      expect(place(input([both, old, certs], nodes)).slots.get(first!)).toMatchObject({ to: nodeId('a') })
    })

    test('a volume of a single task ties nothing', () => {
      const db = service('db', {}, {}, two('data-{{.Task.ID}}'))
      const dead = node('a', { liveness: 'down', volumes: ['data-x'], tasks: [task(db, 1)] })
      expect(place(input([db], [dead, node('b')])).slots.get(first!)).toMatchObject({ to: nodeId('b') })
    })

    test('the one with the slot’s own name alone tells it', () => {
      const own = service('db', replicas(2), {}, two('db-{{.Task.Slot}}', 'certs'))
      const nodes = [
        node('a', { volumes: ['db-1'] }),
        node('b', { volumes: ['certs', 'db-2'] }),
        node('c', { volumes: ['certs'] }),
      ]
      const { slots } = place(input([own], nodes))
      expect([slots.get(first!), slots.get(second!)]).toMatchObject([
        { to: nodeId('a') },
        { to: nodeId('b') },
      ])
    })
  })

  test('a slot waits for what is left over on a node that takes nothing, and the others go elsewhere', () => {
    const five = service('db', replicas(5), {}, mounts)
    const tasks = [task(five, 1)]
    const nodes = [
      node('a', { volumes: ['data'], tasks }),
      node('b', { volumes: ['data'], availability: 'drain' }),
      node('c', { volumes: ['data'], liveness: 'down' }),
      ...['d', 'e', 'f'].map((name) => node(name)),
    ]
    const where = (number: number): unknown =>
      place(input([five], nodes)).slots.get(slotId(five.id as ServiceId, number))
    expect([2, 3].map(where)).toMatchObject([{ kind: 'pending' }, { kind: 'pending' }])
    expect([4, 5].map(where)).toMatchObject([{ kind: 'vacant' }, { kind: 'vacant' }])
    // The name that the node gives is not the slot's own: it is told apart as little.
    const byHost = service(
      'db',
      replicas(2),
      {},
      { Mounts: [{ Type: 'volume', Source: 'data-{{.Node.Hostname}}', Target: '/data' }] },
    )
    const left = [node('a', { volumes: ['data-a'], availability: 'drain' }), node('b')]
    const { slots } = place(input([byHost], left))
    expect([1, 2].map((number) => slots.get(slotId(byHost.id as ServiceId, number)))).toMatchObject([
      { kind: 'pending' },
      { to: nodeId('b') },
    ])
  })

  test('what is left over where the service may not run is not waited for', () => {
    const near = service(
      'db',
      replicas(2),
      { Placement: { Constraints: ['node.labels.disk == ssd'] } },
      mounts,
    )
    const labels = { disk: 'ssd' }
    const nodes = [node('a', { labels }), node('b', { labels }), node('c', { volumes: ['data'] })]
    const { slots } = place(input([near], nodes))
    for (const number of [1, 2])
      expect(slots.get(slotId(near.id as ServiceId, number))).toMatchObject({ kind: 'vacant' })
  })

  test('volumes of network file systems and of other drivers tie nothing', () => {
    for (const DriverConfig of [{ Name: 'local', Options: { type: 'nfs4' } }, { Name: 'rexray' }]) {
      const shared = service(
        'db',
        {},
        {},
        { Mounts: [{ ...mounts.Mounts[0], VolumeOptions: { DriverConfig } }] },
      )
      const plugins = [{ type: 'Volume', name: 'rexray' }]
      const dead = node('a', { liveness: 'down', volumes: ['data'], tasks: [task(shared, 1)] })
      expect(place(input([shared], [dead, node('b', { plugins })])).slots.get(slot)).toMatchObject({
        to: nodeId('b'),
      })
    }
  })
})

describe('refusals', () => {
  const gpu = { DiscreteResourceSpec: { Kind: 'GPU', Value: 2 } }
  const reserving = (reservations: object): Record<string, unknown> => ({
    Resources: { Reservations: reservations },
  })
  const hostPort = { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' }] } }
  const web = service('web', hostPort)

  test.each([
    ['suspect', service('x'), node('a', { liveness: 'suspect' }), 'may be down: 1 observer cannot reach it'],
    ['paused', service('x'), node('a', { availability: 'pause' }), 'is paused: it takes no new tasks'],
    ['engine', service('x'), node('a', { engineError: 'no socket' }), 'its Docker engine is down: no socket'],
    [
      'constraint',
      service('x', {}, { Placement: { Constraints: ['node.labels.zone == us'] } }),
      node('a', { labels: { zone: 'eu' } }),
      'node.labels.zone is eu, not us',
    ],
    [
      'unset label',
      service('x', {}, { Placement: { Constraints: ['node.labels.zone == us'] } }),
      node('a'),
      'node.labels.zone is not set, must be us',
    ],
    [
      'excluded',
      service('x', {}, { Placement: { Constraints: ['node.hostname != A'] } }),
      node('a'),
      'node.hostname is a, which is excluded',
    ],
    [
      'platform',
      service('x', {}, { Placement: { Platforms: [{ OS: 'linux', Architecture: 'arm64' }] } }),
      node('a'),
      'runs linux/x86_64, needs linux/arm64',
    ],
    [
      'GPUs',
      service('x', {}, reserving({ GenericResources: [gpu] })),
      node('a', { generic: [{ kind: 'GPU', value: ['0'] }] }),
      'needs 2 GPUs, has 1 free of 1',
    ],
    ['CPU', service('x', {}, reserving({ NanoCPUs: 5 * cpu })), node('a'), 'needs 5 CPUs, has 4 free of 4'],
    ['port', service('x', hostPort), node('a', { tasks: [task(web, 1)] }), 'port 8080/tcp is taken by web.1'],
    [
      'max tasks',
      service('x'),
      node('a', { maxTasks: 1, tasks: [task(web, 1)] }),
      'has 1 tasks, and takes at most 1',
    ],
    [
      'plugin',
      service('x', {}, { LogDriver: { Name: 'loki' } }),
      node('a', { plugins: [{ type: 'Log', name: 'json-file' }] }),
      'has no log plugin loki',
    ],
  ])('%s: a sentence with figures', (_, wanted, on, reason) => {
    const where = place(input([wanted, web], [on])).slots.get(slotId(wanted.id as ServiceId, 1))
    expect(where).toMatchObject({ kind: 'pending', refusals: [{ node: nodeId('a'), reason }] })
  })

  test('a node’s rejection counts until the spec changes', () => {
    const rejection = {
      service: web.id as ServiceId,
      digest: task(web, 1).digest,
      reason: 'no such image',
      atMs: 0,
    }
    const on = node('a', { rejections: [rejection] })
    const slot = slotId(web.id as ServiceId, 1)
    expect(place(input([web], [on])).slots.get(slot)).toMatchObject({
      refusals: [{ reason: 'rejected it: no such image' }],
    })
    const fixed = service('web', hostPort, {}, { Image: 'web:2' })
    expect(place(input([fixed], [on])).slots.get(slot)).toMatchObject({ to: nodeId('a') })
  })

  test('two replicas with one host port do not share a node', () => {
    const two = service('web', { ...hostPort, ...replicas(2) })
    const where = [...place(input([two], [node('a')])).slots.values()]
    expect(where.map(({ kind }) => kind)).toEqual(['vacant', 'pending'])
    expect(where[1]).toMatchObject({ refusals: [{ reason: 'port 8080/tcp is taken by web.1' }] })
  })

  test('a port that two tasks hold is told to be taken by the same one, whichever was heard of first', () => {
    // On either side of a partition somebody was given it.
    const [api, web, third] = ['api', 'web', 'x'].map((name) => service(name, hostPort)) as [
      ReturnType<typeof service>,
      ReturnType<typeof service>,
      ReturnType<typeof service>,
    ]
    const slot = slotId(third.id as ServiceId, 1)
    const orders = [
      [task(api, 1), task(web, 1)],
      [task(web, 1), task(api, 1)],
    ]
    for (const tasks of orders) {
      expect(place(input([api, web, third], [node('a', { tasks })])).slots.get(slot)).toMatchObject({
        refusals: [{ reason: 'port 8080/tcp is taken by api.1' }],
      })
    }
  })

  test('a limit of replicas per node holds, and moves what exceeds it, the first slots staying', () => {
    const limited = service('web', replicas(3), { Placement: { MaxReplicas: 1 } })
    const on = node('a', { tasks: [task(limited, 3), task(limited, 1)] })
    const kinds = (nodes: readonly ReturnType<typeof node>[]): unknown[] =>
      [...place(input([limited], nodes)).slots.values()].map((where) => [where.kind, nodeOf(where)])
    expect(kinds([on, node('b')])).toEqual([
      ['held', nodeId('a')],
      ['vacant', nodeId('b')],
      ['moving', undefined],
    ])
    expect(kinds([on, node('b'), node('c')])[2]).toEqual(['moving', expect.anything()])
  })

  test('reservations are counted exactly', () => {
    const half = service('half', replicas(9), reserving({ NanoCPUs: cpu / 2 }))
    const where = [...place(input([half], [node('a')])).slots.values()]
    expect(where.filter(({ kind }) => kind === 'vacant')).toHaveLength(8)
    expect(where[8]).toMatchObject({ refusals: [{ reason: 'needs 0.5 CPUs, has 0 free of 4' }] })
  })

  test('a start-first update’s two tasks both reserve and count as one slot', () => {
    const limited = service('web', replicas(2), {
      ...reserving({ NanoCPUs: 2 * cpu }),
      Placement: { MaxReplicas: 2 },
    })
    const a = withTasks(node('a'), [task(limited, 1), task(limited, 1, { attempt: 2 })])
    expect(place(input([limited], [a])).slots.get(slotId(limited.id as ServiceId, 2))).toMatchObject({
      refusals: [{ filter: 'resources' }],
    })
  })
})
