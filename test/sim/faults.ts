import type { TaskId } from '@moot/crdt-state'
import type { TaskSetup } from '../../packages/agent/src/core/reconcile/actions.ts'
import { type Fault, isDisturbing } from './acts.ts'
import type { Host } from './host.ts'
import { gateway, type World } from './world.ts'

type Of<Kind extends Fault['kind']> = Extract<Fault, { kind: Kind }>
type OnContainer = Of<'container ends' | 'container unhealthy' | 'container removed'>
type Fix = () => void

/** How each kind of fault is done; what it returns ends it. Undefined: nothing is left to end. */
const doings: { readonly [Kind in Fault['kind']]: (world: World, act: Of<Kind>) => Fix | undefined } = {
  'power off': (world, { host }) => powerOff(world.host(host)),
  'torn write'(world, { host: index }) {
    const host = world.host(index)
    host.tearNextWrite()
    return () => host.powerOn()
  },
  'kill agent'(world, { host: index, afterEffects }) {
    const host = world.host(index)
    host.life?.killAt(afterEffects)
    return () => {
      host.killAgent()
      host.startAgentSoon()
    }
  },
  'pause agent': (world, { host }) => pause(world, world.host(host)),
  'clock runs at'(world, { host, rate }) {
    const { drift } = world.host(host)
    drift.rate = rate
    return () => {
      drift.rate = 1
    }
  },
  'clock error'(world, { host: index, rate }) {
    const { clock } = world.host(index)
    clock.setRate(rate)
    return () => clock.setRate()
  },
  'watchdog dies'(world, { host }) {
    world.host(host).watchdog.crash()
    return undefined
  },
  'clock jumps'(world, { host, byMs }) {
    world.host(host).drift.wallOffsetMs += byMs
    return undefined
  },
  'engine down'(world, { host: index }) {
    const host = world.host(index)
    host.engine.down()
    return () => {
      if (host.isOn) host.engine.up()
    }
  },
  'engine hangs'(world, { host, call }) {
    const { engine } = world.host(host)
    engine.hang(call)
    return () => engine.release(call)
  },
  'engine slow'(world, { host: index, factor }) {
    const host = world.host(index)
    host.slowEngine(factor)
    return () => host.slowEngine(1)
  },
  'engine fails'(world, { host, call, times }) {
    const { engine } = world.host(host)
    for (let time = 0; time < times; time += 1) engine.failNext(call)
    return () => engine.failNoMore(call)
  },
  'container ends': (world, act) => onTask(world, act, (engine, task) => engine.crash(task, act.exitCode)),
  'container unhealthy': (world, act) =>
    onTask(world, act, (engine, task) => engine.setHealth(task, 'unhealthy')),
  'probe fails': (world, { host, which, part }) => {
    const found = runningAt(world.host(host), which)
    if (found === undefined || !isProbedBy(found.setup)) return undefined
    world.met.add('probe fails')
    return world.listeners.break(found.setup.task.id, [part])
  },
  'service ill': (world, { service }) => fallIll(world, service),
  'container removed': (world, act) => onTask(world, act, (engine, task) => engine.removeBehindBack(task)),
  partition: (world, { sides }) => blocked(world, crossing(world, sides)),
  bridge: (world, { sides, host }) => blocked(world, crossing(world, sides, world.host(host))),
  'holder apart': (world, act) => setApart(world, act),
  'one way': (world, { from, to }) => blocked(world, [[world.host(from), world.host(to)]]),
  loss(world, { from, to, probability }) {
    const weather = world.weather(world.host(from).node, world.host(to).node)
    weather.loss = probability
    return () => {
      weather.loss = 0
    }
  },
  duplication(world, { from, to, probability }) {
    const weather = world.weather(world.host(from).node, world.host(to).node)
    weather.repeat = probability
    return () => {
      weather.repeat = 0
    }
  },
  'slow link'(world, { from, to, slowMs }) {
    const weather = world.weather(world.host(from).node, world.host(to).node)
    weather.slowMs = slowMs
    return () => {
      weather.slowMs = 0
    }
  },
  flapping: (world, act) => flap(world, act),
  'disk full'(world, { host: index }) {
    const host = world.host(index)
    host.fillDisk(true)
    return () => host.fillDisk(false)
  },
  'disk slow': (world, { host }) => world.host(host).holdDisk(),
  'bit rot'(world, { host: index, which }) {
    const host = world.host(index)
    world.rot(host, which)
    return () => {
      host.killAgent()
      host.startAgentSoon()
    }
  },
}

/** Whether these come to anything depends on what runs, or is written. */
const tellsItself: ReadonlySet<Fault['kind']> = new Set([
  'torn write',
  'bit rot',
  'container ends',
  'container unhealthy',
  'container removed',
  'probe fails',
  'service ill',
  'holder apart',
])

export const faultKinds = Object.keys(doings) as readonly Fault['kind'][]

/** Breaks something, and mends it when its time is over: of faults of one kind at one place, with the last of them. */
export function fault(world: World, act: Fault): void {
  if (isDisturbing(act)) world.disturb(act.forMs)
  if (act.kind === 'pause agent') world.deafen(act.forMs)
  if (act.kind.startsWith('disk')) world.impair(act.forMs)
  // The table has for each kind what does that kind.
  const doing = doings[act.kind] as (world: World, act: Fault) => Fix | undefined
  if (!tellsItself.has(act.kind)) world.met.add(act.kind)
  const fix = doing(world, act)
  if (fix !== undefined) world.endAfter(act.forMs, placeOf(act), fix)
}

function placeOf(act: Fault): string | undefined {
  // Each of these ends what it began itself.
  if (
    [
      'partition',
      'bridge',
      'holder apart',
      'one way',
      'flapping',
      'disk slow',
      'pause agent',
      'bit rot',
      'probe fails',
      'service ill',
    ].includes(act.kind)
  )
    return undefined
  const none = { host: undefined, from: undefined, to: undefined, call: '' }
  const { kind, host, from, to, call } = { ...none, ...act }
  return `${kind} ${host ?? `${from} ${to}`} ${call}`
}

function powerOff(host: Host): Fix | undefined {
  if (!host.isOn) return undefined
  host.powerOff()
  return () => host.powerOn()
}

function pause(world: World, host: Host): Fix | undefined {
  const { life, node } = host
  if (life === undefined) return undefined
  life.pause()
  world.network.stall(node)
  return () => {
    life.resume()
    host.resumedAtMs = world.nowMs
    if (life.alive) world.network.resume(node)
  }
}

function setApart(world: World, { service, company, worse }: Of<'holder apart'>): Fix | undefined {
  const holder = world.hosts.findIndex(({ engine }) =>
    engine
      .containers()
      .some(({ setup, observation }) => setup.service.name === service && observation.state === 'running'),
  )
  if (holder < 0) return undefined
  world.met.add('holder apart')
  const host = world.host(holder)
  const count = world.hosts.length
  const fixes = [
    blocked(
      world,
      crossing(world, [
        ...world.hosts.map((_, index) => ((index - holder + count) % count <= company ? 1 : 0)),
        0,
      ]),
    ),
  ]
  if (worse === 'agent paused') fixes.push(pause(world, host) ?? (() => undefined))
  if (worse === 'engine hangs') {
    host.engine.hang()
    fixes.push(() => host.engine.release())
  }
  if (worse === 'agent killed') {
    host.killAgent()
    fixes.push(() => host.startAgentSoon())
  }
  return () => {
    for (const fix of fixes) fix()
  }
}

type Way = readonly [Host, Host | typeof gateway]

function blocked(world: World, ways: readonly Way[]): Fix {
  const undo = ways.map(([from, to]) => world.block(from, to))
  return () => {
    for (const unblock of undo) unblock()
  }
}

function crossing(world: World, sides: readonly number[], bridge?: Host): readonly Way[] {
  // Where the gateway's is not said it is the first one's.
  const gatewaySide = sides[world.hosts.length] ?? sides[0]
  return world.hosts.flatMap((from, a): readonly Way[] => {
    if (from === bridge) return []
    const others = world.hosts.filter((to, b) => sides[a] !== sides[b] && to !== bridge)
    return [...others, ...(sides[a] === gatewaySide ? [] : ([gateway] as const))].map((to) => [from, to])
  })
}

/** The host's cable has a loose contact. */
function flap(world: World, { host: index, forMs, periodMs }: Of<'flapping'>): Fix {
  const host = world.host(index)
  const others = world.hosts.filter((other) => other !== host)
  const endMs = world.nowMs + forMs
  let mend: Fix = () => undefined
  const loose = (): void => {
    if (world.nowMs >= endMs) return
    mend = blocked(
      world,
      [...others, gateway as typeof gateway].map((other) => [host, other]),
    )
    world.clock.after(periodMs, () => {
      mend()
      mend = () => undefined
      world.clock.after(periodMs, loose)
    })
  }
  loose()
  return () => {
    mend()
    mend = () => undefined
  }
}

function onTask(
  world: World,
  { kind, host: index, which }: OnContainer,
  act: (engine: Host['engine'], task: TaskId) => void,
): undefined {
  const host = world.host(index)
  const found = runningAt(host, which)
  if (found === undefined) return
  world.met.add(kind)
  act(host.engine, found.observation.task)
}

function runningAt(
  { engine }: Host,
  which: number,
): ReturnType<typeof engine.containers>[number] | undefined {
  const running = engine.containers().filter(({ observation }) => observation.state === 'running')
  return running[which % Math.max(1, running.length)]
}

/** All of a service at once; what still runs in the end is well again. */
function fallIll(world: World, name: string): Fix {
  const mend = world.listeners.break(name, ['ready', 'live'])
  const fallen = new Map<TaskId, Host>()
  for (const host of world.hosts) {
    for (const { setup, observation } of host.engine.containers()) {
      if (setup.service.name !== name || observation.health !== 'healthy') continue
      host.engine.setHealth(setup.task.id, 'unhealthy')
      fallen.set(setup.task.id, host)
    }
  }
  if (fallen.size > 0 || isProbed(world, name)) world.met.add('service ill')
  return () => {
    mend()
    for (const { engine } of new Set(fallen.values())) {
      for (const { setup, observation } of engine.containers())
        if (fallen.has(setup.task.id) && observation.state === 'running')
          engine.setHealth(setup.task.id, 'healthy')
    }
  }
}

function isProbed(world: World, name: string): boolean {
  return world.hosts.some(({ engine }) =>
    engine.containers().some(({ setup }) => setup.service.name === name && isProbedBy(setup)),
  )
}

function isProbedBy({ spec }: TaskSetup): boolean {
  return Object.keys(spec.Labels).some((label) => label.startsWith('moot.health.'))
}
