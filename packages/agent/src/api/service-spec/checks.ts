import type { ContainerSpec, Mount, ServiceSpec, TaskTemplate } from '@moot/crdt-state'
import { checkPartition } from './partition.ts'
import { readHealthLabels } from '../../core/health/labels.ts'
import { parseConstraint } from '../../core/placement/constraint.ts'
import { rebalanceLabel } from '../../core/rebalance/auto.ts'
import { badRequest } from '../errors.ts'
import { isImageReference } from '../image-reference.ts'

/**
 * What no schema says: swarmkit's checks of a service (`manager/controlapi/service.go`) and those that Docker would
 * make only when a container is created, where nobody would see its answer. Texts are Docker's where clients know them.
 */
export function checkServiceSpec(spec: ServiceSpec, limits: { readonly maxReplicas: number }): void {
  checkName(spec.Name)
  checkMode(spec, limits.maxReplicas)
  checkTemplate(spec.TaskTemplate)
  checkPorts(spec)
  checkHealthLabels(spec)
  checkRebalanceLabel(spec)
  checkPartition(spec)
}

function checkRebalanceLabel({ Labels }: ServiceSpec): void {
  const value = Labels[rebalanceLabel]
  if (value === undefined || value === 'auto' || value === 'off') return
  throw badRequest(`invalid label ${rebalanceLabel}=${value.slice(0, 80)}: give auto or off`)
}

/** Whole: all that is wrong is said at once. */
function checkHealthLabels(spec: ServiceSpec): void {
  const { problems } = readHealthLabels(spec.Labels, spec.TaskTemplate.ContainerSpec.Labels)
  if (problems.length > 0) throw badRequest(`invalid health labels: ${problems.join('; ')}`)
}

export function checkName(name: string): void {
  if (name === '') throw badRequest('meta: name must be provided')
  if (!/^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*$/.test(name)) {
    throw badRequest(`name must be valid as a DNS name component: "${name.slice(0, 80)}" is not`)
  }
  if (name.length > 63) throw badRequest('name must be 63 characters or fewer')
}

function checkMode(spec: ServiceSpec, maxReplicas: number): void {
  if (spec.Mode.Replicated !== undefined && spec.Mode.Global !== undefined) {
    throw badRequest('must specify either replicated mode or global mode, not both')
  }
  const replicas = spec.Mode.Replicated?.Replicas ?? 1
  if (replicas > maxReplicas) {
    throw badRequest(`invalid number of replicas ${replicas}: at most ${maxReplicas} of one service`)
  }
}

function checkTemplate(template: TaskTemplate): void {
  if (!['', 'container'].includes(template.Runtime ?? '')) {
    throw badRequest(`RuntimeSpec: unimplemented runtime "${template.Runtime}" in service spec`)
  }
  for (const part of ['Limits', 'Reservations'] as const) {
    const resources = template.Resources?.[part]
    if (resources === undefined) continue
    const { NanoCPUs = 0, MemoryBytes = 0 } = resources
    if (NanoCPUs !== 0 && NanoCPUs < 1e6) {
      throw badRequest(`invalid cpu value ${NanoCPUs / 1e9}: Must be at least 0.001`)
    }
    if (MemoryBytes !== 0 && MemoryBytes < 4 * 1024 * 1024) {
      throw badRequest(`invalid memory value ${MemoryBytes}: Must be at least 4MiB`)
    }
  }
  for (const expression of template.Placement?.Constraints ?? []) checkConstraint(expression)
  checkContainer(template.ContainerSpec)
}

function checkConstraint(expression: string): void {
  try {
    parseConstraint(expression)
  } catch (error) {
    throw badRequest(error instanceof Error ? error.message : `invalid constraint ${expression}`)
  }
}

function checkContainer(container: ContainerSpec): void {
  if (!isImageReference(container.Image)) {
    throw badRequest(`ContainerSpec: "${container.Image.slice(0, 300)}" is not a valid repository/tag`)
  }
  for (const variable of container.Env ?? []) {
    if (variable === '' || variable.startsWith('=')) {
      throw badRequest(`invalid environment variable: "${variable}": it has no name`)
    }
  }
  checkMounts(container.Mounts ?? [])
  for (const field of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval'] as const) {
    const nanoseconds = container.Healthcheck?.[field] ?? 0
    if (nanoseconds !== 0 && nanoseconds < 1_000_000) {
      throw badRequest(`ContainerSpec: ${field} in HealthConfig cannot be less than 1ms`)
    }
  }
  for (const { Name, Soft, Hard } of container.Ulimits ?? []) {
    if (Hard !== -1 && Soft > Hard) {
      throw badRequest(
        `ulimit soft limit must be less than or equal to hard limit: ${Name} ${Soft} > ${Hard}`,
      )
    }
  }
}

function checkMounts(mounts: readonly Mount[]): void {
  const targets = new Set<string>()
  for (const mount of mounts) {
    if (targets.has(mount.Target)) throw badRequest(`ContainerSpec: duplicate mount point: ${mount.Target}`)
    targets.add(mount.Target)
    checkMount(mount)
  }
}

function checkMount({ Type, Source = '', Target }: Mount): void {
  if (!Target.startsWith('/')) throw badRequest(`invalid mount target, must be an absolute path: ${Target}`)
  if (Target === '/') throw badRequest("invalid mount target: destination can't be '/'")
  switch (Type) {
    case 'bind':
      if (!Source.startsWith('/') && !Source.startsWith('{{')) {
        throw badRequest(`invalid bind mount source, must be an absolute path: ${Source}`)
      }
      return
    case 'volume':
      // Placeholders (`data-{{.Task.Slot}}`) are filled in on the node; what comes out is checked by its engine.
      if (Source !== '' && !/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(Source.replaceAll(/\{\{.+?\}\}/gs, 'x'))) {
        throw badRequest(`invalid volume mount source, must be a volume name and not a path: ${Source}`)
      }
      return
    case 'tmpfs':
      if (Source !== '') throw badRequest(`invalid tmpfs source, source must be empty: ${Source}`)
      return
    case 'npipe':
      throw badRequest('invalid mount type npipe: named pipes are for Windows containers')
    case 'image':
    case 'cluster':
      return
  }
}

function checkPorts(spec: ServiceSpec): void {
  const published = new Set<string>()
  for (const { PublishedPort = 0, Protocol, PublishMode } of spec.EndpointSpec?.Ports ?? []) {
    if (spec.EndpointSpec?.Mode === 'dnsrr' && PublishMode === 'ingress') {
      throw badRequest("EndpointSpec: port published with ingress mode can't be used with dnsrr mode")
    }
    if (PublishedPort === 0) continue
    const key = `${PublishedPort}/${Protocol}`
    if (published.has(key)) throw badRequest(`EndpointSpec: duplicate published ports provided: ${key}`)
    published.add(key)
  }
}
