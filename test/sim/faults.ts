import type { TaskId } from '@moot/crdt-state'
import { type Fault, isHarmless } from './acts.ts'
import type { Host } from './host.ts'
import type { World } from './world.ts'

/** Breaks something, and mends it when its time is over. */
export function fault(world: World, act: Fault): void {
  const end = (undo: () => void): void => {
    world.clock.after(act.forMs, undo)
  }
  const links = (blocked: readonly (readonly [Host, Host])[]): void => {
    const undo = blocked.map(([from, to]) => world.block(from, to))
    end(() => {
      for (const unblock of undo) unblock()
    })
  }
  if (!isHarmless(act)) world.disturb(act.forMs)
  switch (act.kind) {
    case 'power off': {
      const host = world.host(act.host)
      if (!host.isOn) return
      host.powerOff()
      return end(() => host.powerOn())
    }
    case 'kill agent': {
      const host = world.host(act.host)
      host.life?.killAt(act.afterEffects)
      return end(() => {
        host.killAgent()
        void host.startAgent()
      })
    }
    case 'pause agent': {
      const host = world.host(act.host)
      const { life } = host
      if (life === undefined) return
      life.pause()
      world.network.stall(host.node)
      return end(() => {
        life.resume()
        if (life.alive) world.network.resume(host.node)
      })
    }
    case 'clock runs at': {
      const { drift } = world.host(act.host)
      drift.rate = act.rate
      return end(() => {
        drift.rate = 1
      })
    }
    case 'clock jumps':
      world.host(act.host).drift.wallOffsetMs += act.byMs
      return
    case 'engine down': {
      const host = world.host(act.host)
      host.engine.down()
      return end(() => {
        if (host.isOn) host.engine.up()
      })
    }
    case 'engine hangs': {
      const { engine } = world.host(act.host)
      engine.hang(act.call)
      return end(() => engine.release())
    }
    case 'engine slow': {
      const host = world.host(act.host)
      host.slowEngine(act.factor)
      return end(() => host.slowEngine(1))
    }
    case 'engine fails': {
      const { engine } = world.host(act.host)
      for (let time = 0; time < act.times; time += 1) engine.failNext(act.call)
      return end(() => engine.failNoMore())
    }
    case 'container ends':
      return onTask(world.host(act.host), act.which, (engine, task) => engine.crash(task, act.exitCode))
    case 'container unhealthy':
      return onTask(world.host(act.host), act.which, (engine, task) => engine.setHealth(task, 'unhealthy'))
    case 'container removed':
      return onTask(world.host(act.host), act.which, (engine, task) => engine.removeBehindBack(task))
    case 'partition':
      return links(crossing(world, act.sides, undefined))
    case 'bridge':
      return links(crossing(world, act.sides, world.host(act.host)))
    case 'one way':
      return links([[world.host(act.from), world.host(act.to)]])
    case 'loss': {
      const weather = world.weather(world.host(act.from).node, world.host(act.to).node)
      weather.loss = act.probability
      return end(() => {
        weather.loss = 0
      })
    }
    case 'duplication': {
      const weather = world.weather(world.host(act.from).node, world.host(act.to).node)
      weather.repeat = act.probability
      return end(() => {
        weather.repeat = 0
      })
    }
    case 'slow link': {
      const weather = world.weather(world.host(act.from).node, world.host(act.to).node)
      weather.slowMs = act.slowMs
      return end(() => {
        weather.slowMs = 0
      })
    }
    case 'flapping':
      return flap(world, act)
    case 'disk full': {
      const host = world.host(act.host)
      host.fillDisk(true)
      return end(() => host.fillDisk(false))
    }
    case 'disk slow': {
      const release = world.host(act.host).disk.holdSync()
      return end(release)
    }
    case 'torn write': {
      const host = world.host(act.host)
      if (!host.isOn) return
      host.powerOff({ torn: true })
      return end(() => host.powerOn())
    }
    case 'bit rot':
      world.rot(world.host(act.host), act.which)
  }
}

function crossing(
  world: World,
  sides: readonly number[],
  bridge: Host | undefined,
): readonly (readonly [Host, Host])[] {
  return world.hosts.flatMap((from, a) =>
    world.hosts.flatMap((to, b): (readonly [Host, Host])[] =>
      sides[a] === sides[b] || from === bridge || to === bridge ? [] : [[from, to]],
    ),
  )
}

/** The host's cable has a loose contact. */
function flap(world: World, act: Extract<Fault, { kind: 'flapping' }>): void {
  const host = world.host(act.host)
  const endMs = world.nowMs + act.forMs
  const others = world.hosts.filter((other) => other !== host)
  const loose = (): void => {
    if (world.nowMs >= endMs) return
    const undo = others.map((other) => world.block(host, other))
    world.clock.after(act.periodMs, () => {
      for (const unblock of undo) unblock()
      world.clock.after(act.periodMs, loose)
    })
  }
  loose()
}

function onTask(host: Host, which: number, act: (engine: Host['engine'], task: TaskId) => void): void {
  const running = host.engine.containers().filter(({ observation }) => observation.state === 'running')
  const found = running[which % Math.max(1, running.length)]
  if (found !== undefined) act(host.engine, found.observation.task)
}
