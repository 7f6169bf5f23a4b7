import type { ServiceId } from '@moot/crdt-state'
import { compareText } from '../placement/order.ts'
import type { View } from '../view.ts'
import { type Attachments, attachmentsOf } from './attachments.ts'
import { sameJson } from './remember.ts'
import type { AttachedService } from './virtual-ips.ts'

/** Where all services are, by service id. */
export type AttachedServices = ReadonlyMap<ServiceId, AttachedService>

/** Reads only what changed; attachments keep their identity while they say the same, though the service is another. */
export class Attaching {
  #services: View['services'] = new Map()
  #networks: View['networks'] = new Map()
  #attached: AttachedServices = new Map()

  update({ services, networks }: Pick<View, 'services' | 'networks'>): AttachedServices {
    if (services === this.#services && networks === this.#networks) return this.#attached
    const attached = new Map<ServiceId, AttachedService>()
    for (const id of [...services.keys()].sort(compareText)) {
      const service = services.get(id)
      if (service !== undefined) attached.set(id, this.#attach(id, service, networks))
    }
    this.#services = services
    this.#networks = networks
    this.#attached = attached
    return attached
  }

  #attach(id: ServiceId, service: AttachedService['service'], networks: View['networks']): AttachedService {
    const before = this.#attached.get(id)
    if (before?.service === service && networks === this.#networks) return before
    const attachments: Attachments = attachmentsOf(service.spec, networks)
    if (before === undefined || !sameJson(before.attachments, attachments)) return { service, attachments }
    return before.service === service ? before : { service, attachments: before.attachments }
  }
}
