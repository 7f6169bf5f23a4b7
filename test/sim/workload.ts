import type { NodeId } from '@moot/crdt-state'
import type { SimNode } from './node.ts'
import type { World } from './world.ts'

/** What people and fate do to a cluster, drawn from the seed. Knows nothing of what must hold meanwhile. */

interface Deployed {
  replicas: number
  image: number
  global: boolean
  checked: boolean
}

export interface Workload {
  /** One random act of a person or of fate. */
  act(): void
  /** Everything that was broken is mended: hosts and agents run, the network is whole, all nodes are active. */
  mend(): void
}

export function specFor(options: {
  readonly replicas?: number
  readonly image?: string
  readonly global?: boolean
  readonly checked?: boolean
  readonly update?: Record<string, unknown>
  readonly template?: Record<string, unknown>
}): Record<string, unknown> {
  const { replicas = 1, image = 'web:1', global = false, checked = false, update, template } = options
  return {
    TaskTemplate: {
      ContainerSpec: { Image: image, ...(checked ? { Healthcheck: { Test: ['CMD', 'true'] } } : {}) },
      ...template,
    },
    Mode: global ? { Global: {} } : { Replicated: { Replicas: replicas } },
    ...(update === undefined ? {} : { UpdateConfig: update }),
  }
}

export function createWorkload(world: World, options: { readonly maxDown: number }): Workload {
  const { random, network } = world
  const deployed = new Map<string, Deployed>()
  const names = ['a', 'b', 'c'] as const

  const anyAgent = (): SimNode | undefined => random.pick(world.nodes.filter((node) => node.agentUp))

  function put(name: string, service: Deployed): void {
    const at = anyAgent()
    if (at === undefined) return
    deployed.set(name, service)
    const order = service.image % 2 === 0 ? 'start-first' : 'stop-first'
    const { replicas, global, checked } = service
    // Fate kills containers, which pauses an update rightly; what is to come to an end goes on.
    const update = { Parallelism: random.between(0, 2), Order: order, FailureAction: 'continue' }
    world.putService(
      at,
      name,
      specFor({ replicas, global, checked, image: `${name}:${service.image}`, update }),
    )
  }

  function person(): void {
    const name = random.pick(names) ?? 'a'
    const known = deployed.get(name)
    const at = anyAgent()
    if (known === undefined) {
      const global = random.chance(0.25)
      put(name, { replicas: random.between(1, 5), image: 1, global, checked: random.chance(0.4) })
    } else if (random.chance(0.4)) put(name, { ...known, replicas: random.between(0, 6) })
    else if (random.chance(0.6)) put(name, { ...known, image: known.image + 1 })
    else if (at !== undefined && random.chance(0.5)) {
      const node = random.pick(world.nodes)
      if (node !== undefined)
        world.setAvailability(at, node.id, random.pick(['active', 'drain', 'pause']) ?? 'active')
    } else if (at !== undefined && random.chance(0.3)) {
      deployed.delete(name)
      world.removeService(at, name)
    }
  }

  function fate(): void {
    const node = random.pick(world.nodes)
    if (node === undefined) return
    const down = world.nodes.filter((each) => !each.agentUp).length
    const running = [...node.engine.containers.values()].filter((container) => container.state === 'running')
    const victim = random.pick(running)
    const draw = random.between(1, 8)
    if (!node.hostUp) node.powerOn()
    else if (!node.agentUp) node.startAgent()
    else if (draw <= 1 && down < options.maxDown) node.powerOff()
    else if (draw <= 2 && down < options.maxDown) node.killAgent()
    else if (draw <= 4 && victim !== undefined) node.engine.kill(victim, random.between(0, 1))
    else if (draw <= 5 && victim !== undefined) node.engine.removeByHand(victim)
    else if (draw <= 6) split()
    else if (draw <= 7) network.sides.clear()
    else network.loss = random.chance(0.5) ? 0 : 0.5
  }

  function split(): void {
    for (const node of world.nodes) network.sides.set(node.id, random.between(0, 1))
  }

  return {
    act() {
      if (deployed.size === 0 || random.chance(0.5)) person()
      else fate()
    },
    mend() {
      network.sides.clear()
      network.loss = 0
      for (const node of world.nodes) {
        if (!node.hostUp) node.powerOn()
        else if (!node.agentUp) node.startAgent()
      }
      for (const node of world.nodes) activate(node.id)
    },
  }

  function activate(node: NodeId): void {
    const at = anyAgent()
    if (at !== undefined && world.wanted.availability.get(node) !== 'active') {
      world.setAvailability(at, node, 'active')
    }
  }
}
