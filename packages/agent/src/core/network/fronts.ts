import type { NodeId, ResourceId, ServiceId } from '@moot/crdt-state'
import type { AttachedServices } from './attached-services.ts'
import type { ServiceEndpoints } from './endpoints.ts'
import { type Fronted, frontsOf, type KernelReach, type ServiceFronts } from './node-plane.ts'
import type { Address } from './plane.ts'
import type { PublishedPort } from './published-ports.ts'

export interface FrontsInput {
  readonly self: NodeId
  readonly reach: KernelReach
  readonly services: AttachedServices
  readonly virtualIps: ReadonlyMap<ServiceId, ReadonlyMap<ResourceId, Address>>
  readonly ports: ReadonlyMap<ServiceId, readonly PublishedPort[]>
  readonly endpoints: ReadonlyMap<ServiceId, ServiceEndpoints>
}

interface Front {
  readonly from: ServiceFronts
  readonly fronted: Fronted
}

const noPorts: readonly PublishedPort[] = []

/** Where all services are reached, by service id; of a service of which nothing changed the same values as before. */
export class Fronts {
  #known: ReadonlyMap<ServiceId, Front> = new Map()
  #all: Fronted = { frontends: [], forwards: [] }

  update({ self, reach, services, virtualIps, ports, endpoints }: FrontsInput): Fronted {
    const known = new Map<ServiceId, Front>()
    let isChanged = services.size !== this.#known.size
    for (const [id, { attachments }] of services) {
      const before = this.#known.get(id)
      const from = {
        self,
        reach,
        virtualIps: virtualIps.get(id),
        ports: ports.get(id) ?? noPorts,
        publishedOn: attachments.publishedOn,
        endpoints: endpoints.get(id),
      }
      if (before !== undefined && isSame(before.from, from)) known.set(id, before)
      else {
        isChanged = true
        known.set(id, { from, fronted: frontsOf(from) })
      }
    }
    this.#known = known
    if (isChanged) this.#all = allOf([...known.values()])
    return this.#all
  }
}

function allOf(fronts: readonly Front[]): Fronted {
  return {
    frontends: fronts.flatMap(({ fronted }) => fronted.frontends),
    forwards: fronts.flatMap(({ fronted }) => fronted.forwards),
  }
}

function isSame(a: ServiceFronts, b: ServiceFronts): boolean {
  return (
    a.reach === b.reach &&
    a.virtualIps === b.virtualIps &&
    a.ports === b.ports &&
    a.publishedOn === b.publishedOn &&
    a.endpoints === b.endpoints
  )
}
