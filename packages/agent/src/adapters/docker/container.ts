import type { ContainerSpec, ServiceSpec } from '@moot/crdt-state'
import type { TaskSetup } from '../../core/reconcile/actions.ts'
import { TaskRejectedError } from '../../ports/engine.errors.ts'
import type { EngineFacts } from '../../ports/engine.ts'
import { resourceEnv, type AssignedResources } from './generic.ts'
import { containerLabels, label, taskName, type Ownership } from './labels.ts'
import { leaseParts } from './lease.ts'
import { createMounts } from './mounts.ts'
import { securityOptions } from './security.ts'
import { expandTemplate, type TemplateContext } from './template.ts'

/** The body of `POST /containers/create` (Engine API `ContainerCreate`), as far as Moot writes it. */
export interface CreateBody {
  readonly Image: string
  readonly Labels: Readonly<Record<string, string>>
  readonly HostConfig: Readonly<Record<string, unknown>>
  readonly NetworkingConfig?: { readonly EndpointsConfig: Readonly<Record<string, EndpointConfig>> }
  readonly [field: string]: unknown
}

export interface EndpointConfig {
  readonly Aliases?: readonly string[]
  readonly IPAMConfig?: { readonly IPv4Address: string }
  readonly DriverOpts?: Readonly<Record<string, string>>
}

/** A network of this engine that a task is attached to. The first is its main one. */
export interface Attachment {
  /** The name on this engine. */
  readonly name: string
  readonly endpoint: EndpointConfig
}

export interface NodeContext {
  readonly own: Ownership
  readonly hostname: string
  readonly os: string
  readonly architecture: string
  readonly cgroups: EngineFacts['cgroups']
}

export function templateContext(setup: TaskSetup, node: NodeContext): TemplateContext {
  return {
    Service: { ID: setup.task.service, Name: setup.spec.Name, Labels: setup.spec.Labels },
    Node: {
      ID: node.own.node,
      Hostname: node.hostname,
      Platform: { Architecture: node.architecture, OS: node.os },
    },
    Task: { ID: setup.task.id, Name: taskName(setup), Slot: String(setup.task.slot) },
  }
}

/**
 * A task as a container: every field of the spec that concerns the container, in Docker's words. Pure; what cannot
 * be expressed throws a `TaskRejectedError`.
 */
export function createBody(
  setup: TaskSetup,
  node: NodeContext,
  attachments: readonly Attachment[],
  assigned: AssignedResources,
): CreateBody {
  const template = setup.spec.TaskTemplate
  const container = template.ContainerSpec
  const context = templateContext(setup, node)
  const main = attachments[0]
  const ports = hostPorts(setup.spec)
  const lease = leaseParts(setup, node.own, node.cgroups)
  return {
    Image: container.Image,
    Labels: {
      ...containerLabels(setup, node.own),
      ...(Object.keys(assigned).length > 0 && { [label.generic]: JSON.stringify(assigned) }),
    },
    ...processConfig(container, context, [...resourceEnv(assigned), ...lease.env]),
    ...(ports !== undefined && { ExposedPorts: ports.exposed }),
    HostConfig: {
      ...hostConfig(setup, node, context, main?.name, ports?.bindings),
      ...(lease.cgroupParent !== undefined && { CgroupParent: lease.cgroupParent }),
    },
    ...(main !== undefined &&
      !predefinedNetworks.has(main.name) && {
        NetworkingConfig: { EndpointsConfig: { [main.name]: main.endpoint } },
      }),
  }
}

/** Docker's own networks: they take no aliases. */
export const predefinedNetworks: ReadonlySet<string> = new Set(['bridge', 'host', 'none', 'default'])

function processConfig(
  container: ContainerSpec,
  context: TemplateContext,
  given: readonly string[],
): Record<string, unknown> {
  const env = [...(container.Env ?? []).map((entry) => expandEnv(entry, context)), ...given]
  return defined({
    Entrypoint: nonEmpty(container.Command),
    Cmd: nonEmpty(container.Args),
    Hostname: container.Hostname && expandTemplate(container.Hostname, context, 'Hostname'),
    Env: nonEmpty(env),
    WorkingDir: container.Dir,
    User: container.User,
    Tty: container.TTY,
    OpenStdin: container.OpenStdin,
    StopSignal: container.StopSignal,
    // Whole seconds to Docker; rounded up, because a grace must not be cut short. It serves `docker stop` by hand.
    StopTimeout:
      container.StopGracePeriod === undefined ? undefined : Math.ceil(container.StopGracePeriod / 1e9),
    Healthcheck: container.Healthcheck,
  })
}

function hostConfig(
  setup: TaskSetup,
  node: NodeContext,
  context: TemplateContext,
  network: string | undefined,
  bindings: PortBindings | undefined,
): Record<string, unknown> {
  const template = setup.spec.TaskTemplate
  const container = template.ContainerSpec
  const { Limits: limits, Reservations: reservations } = template.Resources ?? {}
  const mounts = createMounts(container.Mounts ?? [], context, node.own)
  return defined({
    // Whether a task runs again is Moot's decision alone, also after a reboot (design/engine.md).
    RestartPolicy: { Name: 'no' },
    NetworkMode: network ?? 'default',
    PortBindings: bindings,
    Mounts: nonEmpty(mounts),
    GroupAdd: nonEmpty(container.Groups),
    ReadonlyRootfs: container.ReadOnly,
    Init: container.Init,
    ExtraHosts: nonEmpty((container.Hosts ?? []).flatMap(extraHosts)),
    // This node's name server knows the service's own, and asks them what is no name of ours.
    Dns:
      setup.overlays[0] === undefined
        ? nonEmpty(container.DNSConfig?.Nameservers)
        : [setup.overlays[0].gateway],
    DnsSearch: nonEmpty(container.DNSConfig?.Search),
    DnsOptions:
      setup.overlays[0] === undefined
        ? nonEmpty(container.DNSConfig?.Options)
        : overlayDnsOptions(container.DNSConfig?.Options ?? []),
    SecurityOpt: nonEmpty(securityOptions(container.Privileges)),
    OomScoreAdj: container.OomScoreAdj,
    Isolation: container.Isolation,
    Sysctls: container.Sysctls,
    CapAdd: nonEmpty(container.CapabilityAdd),
    CapDrop: nonEmpty(container.CapabilityDrop),
    Ulimits: nonEmpty(container.Ulimits),
    NanoCpus: limits?.NanoCPUs,
    Memory: limits?.MemoryBytes,
    PidsLimit: limits?.Pids,
    MemoryReservation: reservations?.MemoryBytes,
    LogConfig:
      template.LogDriver &&
      defined({ Type: template.LogDriver.Name, Config: template.LogDriver.Options ?? {} }),
  })
}

/**
 * Where `ndots` is set, be it in the host's own resolv.conf, the engine's resolver answers a name without a dot with nothing
 * instead of asking this node's name server (libnetwork resolver.go, `NdotsSet`). Options that are given displace the host's,
 * and two attempts are resolv.conf(5)'s default.
 */
function overlayDnsOptions(given: readonly string[]): readonly string[] {
  const options = given.filter((option) => !option.startsWith('ndots'))
  return options.length > 0 ? options : ['attempts:2']
}

/** As swarmkit (template/expand.go): a variable's value is expanded, its name is not. */
function expandEnv(entry: string, context: TemplateContext): string {
  const equals = entry.indexOf('=')
  if (equals < 0) return entry
  const name = entry.slice(0, equals)
  return `${name}=${expandTemplate(entry.slice(equals + 1), context, `Env ${name}`)}`
}

/** `10.0.0.1 db db.local` (hosts(5), Swarm's form) → `db:10.0.0.1`, `db.local:10.0.0.1` (Docker's). */
function extraHosts(entry: string): readonly string[] {
  const [address, ...names] = entry.trim().split(/\s+/)
  if (address === undefined || names.length === 0) {
    throw new TaskRejectedError(
      `invalid entry in Hosts: "${entry}": expected "IP_address hostname [aliases]"`,
    )
  }
  return names.map((name) => `${name}:${address}`)
}

type PortBindings = Readonly<Record<string, readonly { readonly HostPort: string }[]>>

/** Ports that are published on this host itself; the routing mesh is not the engine's. */
function hostPorts(
  spec: ServiceSpec,
): { readonly exposed: Record<string, object>; readonly bindings: PortBindings } | undefined {
  const ports = (spec.EndpointSpec?.Ports ?? []).filter((port) => port.PublishMode === 'host')
  if (ports.length === 0) return undefined
  const exposed: Record<string, object> = {}
  const bindings: Record<string, { readonly HostPort: string }[]> = {}
  for (const port of ports) {
    const key = `${port.TargetPort}/${port.Protocol}`
    exposed[key] = {}
    // Without a published port the engine picks a free one.
    ;(bindings[key] ??= []).push({ HostPort: port.PublishedPort ? String(port.PublishedPort) : '' })
  }
  return { exposed, bindings }
}

function nonEmpty<T>(items: readonly T[] | undefined): readonly T[] | undefined {
  return items === undefined || items.length === 0 ? undefined : items
}

/** Without its undefined fields: absent means "as the image or the engine says". */
function defined(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
