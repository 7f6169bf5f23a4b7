import { specDigest, type NodeId, type Resource, type ServiceId, type ServiceSpec } from '@moot/crdt-state'
import type { ModelContainer } from './model-engine.ts'
import type { SimNode } from './node.ts'
import type { World } from './world.ts'

/**
 * What must be true of containers, specs and nodes. Checkers see only what a person at the hosts would see: they
 * know nothing of claims, records or facts.
 */

export interface Running {
  readonly node: SimNode
  readonly container: ModelContainer
}

export function runningOf(world: World, service: ServiceId): readonly Running[] {
  const found: Running[] = []
  for (const node of world.nodes) {
    for (const container of node.engine.containers.values()) {
      if (container.service === service && container.state === 'running') found.push({ node, container })
    }
  }
  return found
}

export function isReady({ container }: Running): boolean {
  return container.health === 'none' || container.health === 'healthy'
}

/** Exactly the wanted set runs: none missing, none twice, nothing else, all of the newest spec. */
export function wantedSetRuns(world: World): readonly string[] {
  const wrong: string[] = []
  for (const [id, service] of world.wanted.services) {
    const slots = wantedSlots(world, service)
    const running = runningOf(world, id)
    for (const slot of slots) {
      const here = running.filter(({ container }) => String(container.slot) === slot)
      if (here.length !== 1) wrong.push(`${service.name}.${slot} runs ${here.length} times${placesOf(here)}`)
    }
    for (const each of running) {
      const { container } = each
      if (!slots.has(String(container.slot)))
        wrong.push(`${service.name}.${container.slot} runs and is not wanted`)
      if (!isReady(each)) wrong.push(`${service.name}.${container.slot} is not healthy`)
      if (container.digest !== specDigest(service.spec)) {
        wrong.push(`${service.name}.${container.slot} runs an older spec`)
      }
    }
  }
  for (const node of world.nodes) {
    for (const { service, state, task } of node.engine.containers.values()) {
      if (state === 'running' && !world.wanted.services.has(service))
        wrong.push(`${task} of a removed service runs`)
    }
  }
  return wrong
}

function placesOf(running: readonly Running[]): string {
  return running.length === 0 ? '' : ` (on ${running.map(({ node }) => node.id.slice(0, 5)).join(', ')})`
}

function wantedSlots(world: World, service: Resource<ServiceSpec>): ReadonlySet<string> {
  const { Mode } = service.spec
  if (Mode.Global !== undefined) {
    const nodes = world.nodes.filter((node) => world.wanted.availability.get(node.id) === 'active')
    return new Set(nodes.map((node) => node.id))
  }
  const replicas = Mode.Replicated?.Replicas ?? 1
  return new Set(Array.from({ length: replicas }, (_, index) => String(index + 1)))
}

/**
 * No agent stops a running container without a cause that a person would accept: what was asked for changed a short
 * while ago or says so now, the container was unhealthy, or its slot runs elsewhere too.
 */
export function watchStops(world: World, graceMs: number): readonly string[] {
  const violations: string[] = []
  const changedAtMs = new Map<ServiceId, number>()
  let nodesChangedAtMs = -Infinity
  world.onSpec((service) => {
    if (service === undefined) nodesChangedAtMs = world.timeline.nowMs
    else changedAtMs.set(service, world.timeline.nowMs)
  })
  world.onContainer((node, container, fate) => {
    if (fate !== 'stopped-by-agent') return
    const nowMs = world.timeline.nowMs
    const service = world.wanted.services.get(container.service)
    const excused =
      service === undefined ||
      container.health === 'unhealthy' ||
      container.digest !== specDigest(service.spec) ||
      !wantedSlots(world, service).has(String(container.slot)) ||
      world.wanted.availability.get(node.id) !== 'active' ||
      nowMs - (changedAtMs.get(container.service) ?? -Infinity) < graceMs ||
      nowMs - nodesChangedAtMs < graceMs ||
      runningOf(world, container.service).some(
        (other) => other.container !== container && other.container.slot === container.slot,
      )
    if (!excused) {
      violations.push(
        `${nowMs} ms: ${node.id.slice(0, 5)} stopped ${service.name}.${container.slot} without a cause`,
      )
    }
  })
  return violations
}

/** The fewest slots of a service that were up at any moment since. A slot is up if some container of it is ready. */
export function watchLowest(world: World, service: ServiceId): { readonly lowest: () => number } {
  const up = (): number =>
    new Set(
      runningOf(world, service)
        .filter((each) => isReady(each))
        .map(({ container }) => container.slot),
    ).size
  let lowest = up()
  world.onContainer((_node, container) => {
    if (container.service === service) lowest = Math.min(lowest, up())
  })
  return { lowest: () => lowest }
}

/** Ids of the containers that run now: to see that none was restarted. */
export function runningIds(world: World): ReadonlySet<string> {
  const ids = new Set<string>()
  for (const node of world.nodes) {
    for (const { id, state } of node.engine.containers.values()) if (state === 'running') ids.add(id)
  }
  return ids
}

export function nodesById(world: World): ReadonlyMap<NodeId, SimNode> {
  return new Map(world.nodes.map((node) => [node.id, node]))
}
