import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseEnv } from 'node:util'
import type {
  Healthcheck,
  NetworkAttachment,
  ServiceSpec,
  TaskTemplate,
  UpdateConfig,
} from '@moot/crdt-state'
import { type ConvertContext, given, networkName, nonEmpty, stringOptions } from './context.ts'
import { convertPort } from './ports.ts'
import type { ServiceFile } from './schema.ts'
import { convertTmpfs, convertVolume } from './volumes.ts'
import { bytes, ComposeError, durationNs, labels, mappingOrList, nanoCpus, shellWords } from './values.ts'

/** One Compose service as Docker's ServiceSpec (the rules are docker/cli's cli/compose/convert). */
export function convertService(context: ConvertContext, name: string, service: ServiceFile): ServiceSpec {
  const field = `services.${name}`
  if (service.image === undefined || service.image === '') {
    throw new ComposeError(`${field}.image: a stack runs images: give one (nothing is built here)`)
  }
  const deploy = service.deploy ?? {}
  const stackLabel = { 'com.docker.stack.namespace': context.namespace }
  const ports = (service.ports ?? []).flatMap((port, index) => convertPort(port, `${field}.ports[${index}]`))
  ports.sort((a, b) => (a.PublishedPort ?? 0) - (b.PublishedPort ?? 0))
  return given({
    Name: `${context.namespace}_${name}`,
    Labels: { ...labels(deploy.labels), ...stackLabel, 'com.docker.stack.image': service.image },
    TaskTemplate: given({
      ContainerSpec: containerSpec(context, field, service, service.image, stackLabel),
      LogDriver:
        service.logging === undefined
          ? undefined
          : given({ Name: service.logging.driver, Options: stringOptions(service.logging.options) }),
      Resources: resources(deploy.resources, `${field}.deploy.resources`),
      RestartPolicy: restartPolicy(service, field),
      Placement: placement(deploy.placement),
      Networks: networks(context, name, service),
      ForceUpdate: 0,
    }),
    Mode: mode(deploy),
    UpdateConfig: updateConfig(deploy.update_config, `${field}.deploy.update_config`),
    RollbackConfig: updateConfig(deploy.rollback_config, `${field}.deploy.rollback_config`),
    EndpointSpec: given({
      Mode: deploy.endpoint_mode?.toLowerCase() as 'vip' | 'dnsrr' | undefined,
      Ports: nonEmpty(ports),
    }),
  })
}

function containerSpec(
  context: ConvertContext,
  field: string,
  service: ServiceFile,
  image: string,
  stackLabel: Record<string, string>,
): TaskTemplate['ContainerSpec'] {
  const dns = service.dns === undefined ? [] : [service.dns].flat()
  const search = service.dns_search === undefined ? [] : [service.dns_search].flat()
  const mounts = [
    ...(service.volumes ?? []).map((volume, index) =>
      convertVolume(context, volume, `${field}.volumes[${index}]`),
    ),
    ...(service.tmpfs === undefined ? [] : [service.tmpfs].flat()).map(convertTmpfs),
  ]
  return given({
    Image: withTag(image),
    Labels: { ...labels(service.labels ?? undefined), ...stackLabel },
    Command: words(service.entrypoint, `${field}.entrypoint`),
    Args: words(service.command, `${field}.command`),
    Hostname: service.hostname,
    Env: nonEmpty(environment(context, service, field)),
    Dir: service.working_dir,
    User: service.user,
    TTY: service.tty,
    OpenStdin: service.stdin_open,
    ReadOnly: service.read_only,
    Mounts: nonEmpty(mounts),
    StopSignal: service.stop_signal,
    StopGracePeriod:
      service.stop_grace_period === undefined
        ? undefined
        : durationNs(service.stop_grace_period, `${field}.stop_grace_period`),
    Healthcheck: healthcheck(service.healthcheck, `${field}.healthcheck`),
    Hosts: nonEmpty(
      [...mappingOrList(service.extra_hosts, ':')].map(([host, ip]) => `${ip ?? ''} ${host}`).toSorted(),
    ),
    DNSConfig:
      dns.length + search.length === 0
        ? undefined
        : given({ Nameservers: nonEmpty(dns), Search: nonEmpty(search) }),
    Secrets: nonEmpty(service.secrets?.map((each) => fileReference(context, 'secrets', each)) ?? []),
    Configs: nonEmpty(service.configs?.map((each) => fileReference(context, 'configs', each)) ?? []),
    Isolation: service.isolation,
    Init: service.init,
    Sysctls: service.sysctls === undefined ? undefined : labels(service.sysctls),
    CapabilityAdd: nonEmpty(service.cap_add?.map(capability)),
    CapabilityDrop: nonEmpty(service.cap_drop?.map(capability)),
    Ulimits: nonEmpty(
      Object.entries(service.ulimits ?? {})
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([Name, limit]) =>
          typeof limit === 'number'
            ? { Name, Soft: limit, Hard: limit }
            : { Name, Soft: limit.soft, Hard: limit.hard },
        ),
    ),
    OomScoreAdj: service.oom_score_adj,
  }) as TaskTemplate['ContainerSpec']
}

/** `nginx` is `nginx:latest`; a tag or a digest stays. */
function withTag(image: string): string {
  const last = image.slice(image.lastIndexOf('/') + 1)
  return last.includes(':') || last.includes('@') ? image : `${image}:latest`
}

function capability(name: string): string {
  const upper = name.toUpperCase()
  return upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`
}

function words(value: string | string[] | null | undefined, field: string): string[] | undefined {
  if (value === undefined || value === null) return undefined
  return typeof value === 'string' ? shellWords(value, field) : value
}

/** `env_file` first, `environment` over it; a name without a value is taken from the caller's environment. */
function environment(context: ConvertContext, service: ServiceFile, field: string): string[] {
  const values = new Map<string, string | undefined>()
  for (const file of service.env_file === undefined ? [] : [service.env_file].flat()) {
    let text: string
    try {
      text = readFileSync(resolve(context.directory, file), 'utf8')
    } catch (error) {
      throw new ComposeError(
        `${field}.env_file: cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`,
      )
    }
    for (const [key, value] of Object.entries(parseEnv(text))) values.set(key, value)
  }
  for (const [key, value] of mappingOrList(service.environment ?? undefined)) {
    values.set(key, value ?? context.environment[key])
  }
  return [...values].map(([key, value]) => (value === undefined ? key : `${key}=${value}`)).toSorted()
}

function mode(deploy: NonNullable<ServiceFile['deploy']>): ServiceSpec['Mode'] {
  const replicas = deploy.replicas
  switch (deploy.mode) {
    case 'global':
    case 'global-job':
      if (replicas !== undefined)
        throw new ComposeError(`deploy.replicas: a ${deploy.mode} service has one task per node`)
      return deploy.mode === 'global' ? { Global: {} } : { GlobalJob: {} }
    case 'replicated-job':
      return { ReplicatedJob: given({ MaxConcurrent: replicas, TotalCompletions: replicas }) }
    case 'replicated':
    case undefined:
      return { Replicated: given({ Replicas: replicas }) }
  }
}

function resources(
  value: NonNullable<ServiceFile['deploy']>['resources'],
  field: string,
): TaskTemplate['Resources'] {
  if (value === undefined) return undefined
  const { limits, reservations } = value
  const amounts = (
    each: { cpus?: string | undefined; memory?: string | undefined },
    where: string,
  ): object => ({
    NanoCPUs: each.cpus === undefined ? undefined : nanoCpus(each.cpus, `${where}.cpus`),
    MemoryBytes: each.memory === undefined ? undefined : bytes(each.memory, `${where}.memory`),
  })
  return given({
    Limits:
      limits === undefined ? undefined : given({ ...amounts(limits, `${field}.limits`), Pids: limits.pids }),
    Reservations:
      reservations === undefined
        ? undefined
        : given({
            ...amounts(reservations, `${field}.reservations`),
            GenericResources: reservations.generic_resources?.map(({ discrete_resource_spec: spec }) => ({
              DiscreteResourceSpec: { Kind: spec.kind, Value: spec.value },
            })),
          }),
  })
}

function restartPolicy(service: ServiceFile, field: string): TaskTemplate['RestartPolicy'] {
  const policy = service.deploy?.restart_policy
  if (policy !== undefined) {
    const duration = (text: string | undefined, key: string): number | undefined =>
      text === undefined ? undefined : durationNs(text, `${field}.deploy.restart_policy.${key}`)
    return given({
      Condition: policy.condition,
      Delay: duration(policy.delay, 'delay'),
      MaxAttempts: policy.max_attempts,
      Window: duration(policy.window, 'window'),
    })
  }
  const match = /^(no|always|unless-stopped|on-failure)(?::(\d+))?$/.exec(service.restart ?? '')
  if (service.restart === undefined || service.restart === '' || match?.[1] === 'no') return undefined
  if (match === null)
    throw new ComposeError(
      `${field}.restart: "${service.restart}" is none of no, always, unless-stopped, on-failure[:n]`,
    )
  return match[1] === 'on-failure'
    ? (given({
        Condition: 'on-failure',
        MaxAttempts: match[2] === undefined ? undefined : Number(match[2]),
      }) as TaskTemplate['RestartPolicy'])
    : { Condition: 'any' }
}

function placement(value: NonNullable<ServiceFile['deploy']>['placement']): TaskTemplate['Placement'] {
  return given({
    Constraints: nonEmpty(value?.constraints),
    Preferences: nonEmpty(
      value?.preferences?.map(({ spread }) => ({ Spread: { SpreadDescriptor: spread } })),
    ),
    MaxReplicas: value?.max_replicas_per_node,
  })
}

function updateConfig(
  value: NonNullable<ServiceFile['deploy']>['update_config'],
  field: string,
): UpdateConfig | undefined {
  if (value === undefined) return undefined
  return given({
    Parallelism: value.parallelism ?? 1,
    Delay: value.delay === undefined ? undefined : durationNs(value.delay, `${field}.delay`),
    FailureAction: value.failure_action,
    Monitor: value.monitor === undefined ? undefined : durationNs(value.monitor, `${field}.monitor`),
    MaxFailureRatio: value.max_failure_ratio,
    Order: value.order,
  })
}

function healthcheck(value: ServiceFile['healthcheck'], field: string): Healthcheck | undefined {
  if (value === undefined) return undefined
  if (value.disable === true) {
    if (value.test !== undefined) throw new ComposeError(`${field}: "test" and "disable" exclude each other`)
    return { Test: ['NONE'] }
  }
  const duration = (text: string | undefined, key: string): number | undefined =>
    text === undefined ? undefined : durationNs(text, `${field}.${key}`)
  return given({
    Test: typeof value.test === 'string' ? ['CMD-SHELL', value.test] : value.test,
    Interval: duration(value.interval, 'interval'),
    Timeout: duration(value.timeout, 'timeout'),
    StartPeriod: duration(value.start_period, 'start_period'),
    StartInterval: duration(value.start_interval, 'start_interval'),
    Retries: value.retries,
  })
}

function networks(context: ConvertContext, name: string, service: ServiceFile): NetworkAttachment[] {
  const wanted = service.networks ?? ['default']
  const entries: [
    string,
    {
      aliases?: string[] | undefined
      driver_opts?: Record<string, string | number | boolean | null> | undefined
    } | null,
  ][] = Array.isArray(wanted) ? wanted.map((key) => [key, null]) : Object.entries(wanted)
  return entries
    .map(([key, options]) => {
      const Target = networkName(context, key, `services.${name}.networks`)
      const predefined = ['host', 'none', 'bridge'].includes(Target)
      const Aliases = [...(options?.aliases ?? []), ...(predefined ? [] : [name])]
      const DriverOpts = stringOptions(options?.driver_opts)
      return given({ Target, Aliases: nonEmpty(Aliases), DriverOpts })
    })
    .toSorted((a, b) => (a.Target < b.Target ? -1 : 1))
}

/** Secrets and configs by name: the agent resolves (or, for now, refuses) them. */
function fileReference(
  context: ConvertContext,
  section: 'secrets' | 'configs',
  value: NonNullable<ServiceFile['secrets']>[number],
): { readonly File: { Name: string; UID: string; GID: string; Mode: number } } & Record<string, unknown> {
  const long = typeof value === 'string' ? { source: value } : value
  const declared = context.stack[section][long.source]
  if (declared === undefined)
    throw new ComposeError(`${section}: "${long.source}" is not among the file's ${section}`)
  const name =
    declared.name ?? (declared.external === undefined ? `${context.namespace}_${long.source}` : long.source)
  const target = long.target ?? (section === 'secrets' ? long.source : `/${long.source}`)
  const File = { Name: target, UID: long.uid ?? '0', GID: long.gid ?? '0', Mode: long.mode ?? 0o444 }
  return section === 'secrets'
    ? { File, SecretID: name, SecretName: name }
    : { File, ConfigID: name, ConfigName: name }
}
