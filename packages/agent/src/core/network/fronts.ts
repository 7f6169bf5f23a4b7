import type { ResourceId, ServiceId } from '@moot/crdt-state'
import type { AttachedServices } from './attached-services.ts'
import type { ServiceEndpoints } from './endpoints.ts'
import { frontendsOf, type ServiceFronts } from './node-plane.ts'
import type { Address, Frontend } from './plane.ts'
import type { PublishedPort } from './published-ports.ts'

export interface FrontsInput {
  readonly services: AttachedServices
  readonly virtualIps: ReadonlyMap<ServiceId, ReadonlyMap<ResourceId, Address>>
  readonly ports: ReadonlyMap<ServiceId, readonly PublishedPort[]>
  readonly endpoints: ReadonlyMap<ServiceId, ServiceEndpoints>
}

interface Front {
  readonly from: ServiceFronts
  readonly frontends: readonly Frontend[]
}

const noPorts: readonly PublishedPort[] = []

/** All services' frontends, by service id; those of a service of which nothing changed are the same values as before. */
export class Fronts {
  #known: ReadonlyMap<ServiceId, Front> = new Map()
  #all: readonly Frontend[] = []

  update({ services, virtualIps, ports, endpoints }: FrontsInput): readonly Frontend[] {
    const known = new Map<ServiceId, Front>()
    let isChanged = services.size !== this.#known.size
    for (const [id, { attachments }] of services) {
      const before = this.#known.get(id)
      const from = {
        virtualIps: virtualIps.get(id),
        ports: ports.get(id) ?? noPorts,
        publishedOn: attachments.publishedOn,
        endpoints: endpoints.get(id),
      }
      if (before !== undefined && isSame(before.from, from)) known.set(id, before)
      else {
        isChanged = true
        known.set(id, { from, frontends: frontendsOf(from) })
      }
    }
    this.#known = known
    if (isChanged) this.#all = [...known.values()].flatMap(({ frontends }) => frontends)
    return this.#all
  }
}

function isSame(a: ServiceFronts, b: ServiceFronts): boolean {
  return (
    a.virtualIps === b.virtualIps &&
    a.ports === b.ports &&
    a.publishedOn === b.publishedOn &&
    a.endpoints === b.endpoints
  )
}
