import type { NodeId, Resource, ResourceId, ServiceSpec } from '@moot/crdt-state'
import { compareText } from '../placement/order.ts'
import type { Attachments } from './attachments.ts'
import type { Endpoint, ServiceEndpoints } from './endpoints.ts'
import type { Answer } from './name-table.ts'
import type { Address } from './plane.ts'

/** `docker stack deploy` puts it on each service of a stack. */
const stackLabel = 'com.docker.stack.namespace'

/** Names of one network, each with its answer. */
export type Names = ReadonlyMap<string, Answer>
/** All names of one service, by network. */
export type ServiceNames = ReadonlyMap<ResourceId, Names>

export interface NamedService {
  readonly service: Resource<ServiceSpec>
  readonly attachments: Attachments
  /** None: it has endpoint mode dnsrr, or waits for its address, and its tasks answer for themselves. */
  readonly virtualIps: ReadonlyMap<ResourceId, Address> | undefined
  readonly endpoints: ServiceEndpoints | undefined
}

/** What is known of a service on its networks, as node `self` answers it. On `ingress` nobody has a name. */
export function namesOf(
  { service, attachments, virtualIps, endpoints }: NamedService,
  self: NodeId,
): ServiceNames {
  const named = new Map<ResourceId, Names>()
  for (const { network, aliases } of attachments.networks) {
    if (network === attachments.ingress) continue
    const { ready = [], up = [] } = endpoints?.get(network) ?? {}
    const tasks = answerOf(ready, self)
    const here: Answer = tasks.local > 0 ? only(tasks, tasks.local) : tasks
    const virtualIp = virtualIps?.get(network)
    const whole = virtualIp === undefined ? tasks : { addresses: [virtualIp], local: 0 }
    const names = new Map<string, Answer>()
    for (const name of serviceNames(service, aliases)) {
      names.set(name, whole)
      // Aliases have them too, as in Docker (moby libnetwork/service_common.go addEndpointNameResolution).
      names.set(`tasks.${name}`, tasks)
      names.set(`local.${name}`, here)
    }
    for (const { task, slot, node, address } of up) {
      names.set(`${service.name}.${slot}.${task}`.toLowerCase(), {
        addresses: [address],
        local: node === self ? 1 : 0,
      })
    }
    named.set(network, names)
  }
  return named
}

/** Its name, its aliases on this network, and `web.shop` for `shop_web` of the stack `shop`. */
function serviceNames({ name, spec }: Resource<ServiceSpec>, aliases: readonly string[]): readonly string[] {
  const names = new Set([name, ...aliases].map((each) => each.toLowerCase()))
  const stack = Object.hasOwn(spec.Labels, stackLabel) ? (spec.Labels[stackLabel] ?? '') : ''
  if (stack !== '') {
    const short = name.startsWith(`${stack}_`) ? name.slice(stack.length + 1) : name
    names.add(`${short}.${stack}`.toLowerCase())
  }
  return [...names].filter((each) => each !== '')
}

/** This node's own first. */
function answerOf(endpoints: readonly Endpoint[], self: NodeId): Answer {
  const here = endpoints.filter(({ node }) => node === self)
  const elsewhere = endpoints.filter(({ node }) => node !== self)
  return { addresses: [...here, ...elsewhere].map(({ address }) => address), local: here.length }
}

function only({ addresses }: Answer, local: number): Answer {
  return { addresses: addresses.slice(0, local), local }
}

/** Several may have one name: all answer, as in Docker. Given in the order of their ids. */
export function joined(answers: readonly Answer[]): Answer {
  const [first] = answers
  if (first !== undefined && answers.length === 1) return first
  const here = new Set(answers.flatMap(({ addresses, local }) => addresses.slice(0, local)))
  const elsewhere = answers.flatMap(({ addresses, local }) => addresses.slice(local))
  return { addresses: [...new Set([...here, ...elsewhere])], local: here.size }
}

/** One network's names, kept while services and guests (known by their ids) come, change and go: each costs its own names. */
export class NetworkNames {
  readonly #claims = new Map<string, Map<string, Answer>>()
  readonly #answers = new Map<string, Answer>()
  #record: Readonly<Record<string, Answer>> | undefined

  get isEmpty(): boolean {
    return this.#claims.size === 0
  }

  change(id: string, before: Names | undefined, after: Names | undefined): void {
    for (const name of before?.keys() ?? []) if (after?.has(name) !== true) this.#claim(name, id, undefined)
    for (const [name, answer] of after ?? []) {
      if (!sameAnswer(before?.get(name), answer)) this.#claim(name, id, answer)
    }
  }

  #claim(name: string, id: string, answer: Answer | undefined): void {
    const claims = this.#claims.get(name) ?? new Map<string, Answer>()
    if (answer === undefined) claims.delete(id)
    else claims.set(id, answer)
    this.#record = undefined
    if (claims.size === 0) {
      this.#claims.delete(name)
      this.#answers.delete(name)
      return
    }
    this.#claims.set(name, claims)
    const inOrder = [...claims].sort(([a], [b]) => compareText(a, b))
    this.#answers.set(name, joined(inOrder.map(([, each]) => each)))
  }

  /** The same value while nothing changed. `__proto__` is a name like any other: nothing is assigned. */
  names(): Readonly<Record<string, Answer>> {
    this.#record ??= Object.fromEntries(this.#answers)
    return this.#record
  }
}

function sameAnswer(a: Answer | undefined, b: Answer): boolean {
  return (
    a !== undefined &&
    a.local === b.local &&
    a.addresses.length === b.addresses.length &&
    a.addresses.every((address, at) => address === b.addresses[at])
  )
}
