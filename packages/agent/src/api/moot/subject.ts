import { type Resource, type ServiceSpec, stackOf } from '@moot/crdt-state'
import type { Api } from '../call.ts'
import { ApiError, badRequest, notFound } from '../errors.ts'
import { serviceOf } from '../services.ts'

/** What people mean by STACK|SERVICE. */
export type Subject =
  | { readonly kind: 'service'; readonly service: Resource<ServiceSpec> }
  | { readonly kind: 'stack'; readonly name: string; readonly services: readonly Resource<ServiceSpec>[] }

export const subjectForm = 'a stack or a service; stack/NAME or service/NAME where there are both'

export function subjectOf(api: Api, reference: string): Subject {
  if (reference.startsWith('service/')) return aService(api, reference.slice('service/'.length))
  if (reference.startsWith('stack/')) return aStack(api, reference.slice('stack/'.length))
  const isStack = servicesOfStack(api, reference).length > 0
  const isService = [...api.cluster.view().services.values()].some(({ name }) => name === reference)
  if (isStack && isService) {
    throw badRequest(
      `there are both a stack and a service named ${reference}: say stack/${reference} or service/${reference}`,
    )
  }
  if (isStack) return aStack(api, reference)
  try {
    return aService(api, reference)
  } catch (error) {
    throw error instanceof ApiError && error.status === 404 ? notFound('stack or service', reference) : error
  }
}

function aService(api: Api, reference: string): Subject {
  return { kind: 'service', service: serviceOf(api, reference) }
}

function aStack(api: Api, name: string): Subject {
  const services = servicesOfStack(api, name)
  if (services.length === 0) throw notFound('stack', name)
  return { kind: 'stack', name, services }
}

/** By name. */
export function servicesOfStack(api: Api, stack: string): readonly Resource<ServiceSpec>[] {
  return [...api.cluster.view().services.values()]
    .filter(({ spec }) => stackOf(spec) === stack)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

export function servicesOf(subject: Subject): readonly Resource<ServiceSpec>[] {
  return subject.kind === 'service' ? [subject.service] : subject.services
}
