import * as z from 'zod'

/**
 * The Compose file as `docker stack deploy` reads it (Compose v3; docker/cli cli/compose/schema config_schema_v3.13).
 * Objects are strict: a key that does not exist is refused by name.
 */
const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()])
const text = z.union([z.string(), z.number()]).transform(String)
const mapping = z.union([z.record(z.string(), scalar), z.array(z.string())])
const stringOrList = z.union([z.string(), z.array(z.string())])
const flag = z.union([z.boolean(), z.enum(['true', 'false']).transform((each) => each === 'true')])
const natural = z
  .union([z.number(), z.string().regex(/^\d+$/).transform(Number)])
  .pipe(z.number().int().min(0))
const external = z.union([flag, z.strictObject({ name: z.string().optional() })])

const port = z.union([
  z.number(),
  z.string(),
  z.strictObject({
    name: z.string().optional(),
    mode: z.enum(['ingress', 'host']).optional(),
    target: natural,
    published: z.union([z.number(), z.string()]).optional(),
    protocol: z.string().optional(),
    app_protocol: z.string().optional(),
  }),
])

const volume = z.union([
  z.string(),
  z.strictObject({
    type: z.enum(['volume', 'bind', 'tmpfs', 'npipe', 'cluster']),
    source: z.string().optional(),
    target: z.string(),
    read_only: flag.optional(),
    consistency: z.string().optional(),
    bind: z
      .strictObject({ propagation: z.string().optional(), create_host_path: flag.optional() })
      .optional(),
    volume: z.strictObject({ nocopy: flag.optional(), subpath: z.string().optional() }).optional(),
    tmpfs: z
      .strictObject({ size: z.union([z.number(), z.string()]).optional(), mode: z.number().optional() })
      .optional(),
    cluster: z.strictObject({}).optional(),
  }),
])

const fileReference = z.union([
  z.string(),
  z.strictObject({
    source: z.string(),
    target: z.string().optional(),
    uid: text.optional(),
    gid: text.optional(),
    mode: z.number().optional(),
  }),
])

const updateConfig = z.strictObject({
  parallelism: natural.optional(),
  delay: z.string().optional(),
  failure_action: z.enum(['pause', 'continue', 'rollback']).optional(),
  monitor: z.string().optional(),
  max_failure_ratio: z.number().optional(),
  order: z.enum(['stop-first', 'start-first']).optional(),
})

const genericResources = z.array(
  z.strictObject({ discrete_resource_spec: z.strictObject({ kind: z.string(), value: natural }) }),
)

const deploy = z.strictObject({
  mode: z.enum(['replicated', 'global', 'replicated-job', 'global-job']).optional(),
  endpoint_mode: z.string().optional(),
  replicas: natural.optional(),
  labels: mapping.optional(),
  rollback_config: updateConfig.optional(),
  update_config: updateConfig.optional(),
  resources: z
    .strictObject({
      limits: z
        .strictObject({ cpus: text.optional(), memory: text.optional(), pids: natural.optional() })
        .optional(),
      reservations: z
        .strictObject({
          cpus: text.optional(),
          memory: text.optional(),
          generic_resources: genericResources.optional(),
        })
        .optional(),
    })
    .optional(),
  restart_policy: z
    .strictObject({
      condition: z.enum(['none', 'on-failure', 'any']).optional(),
      delay: z.string().optional(),
      max_attempts: natural.optional(),
      window: z.string().optional(),
    })
    .optional(),
  placement: z
    .strictObject({
      constraints: z.array(z.string()).optional(),
      preferences: z.array(z.strictObject({ spread: z.string() })).optional(),
      max_replicas_per_node: natural.optional(),
    })
    .optional(),
})

const anything = z.unknown().optional()

/** Keys that a stack ignores, as `docker stack deploy` does with a warning. */
export const ignoredKeys = [
  'build',
  'cgroupns_mode',
  'cgroup_parent',
  'container_name',
  'depends_on',
  'devices',
  'domainname',
  'expose',
  'external_links',
  'ipc',
  'links',
  'mac_address',
  'network_mode',
  'pid',
  'privileged',
  'security_opt',
  'shm_size',
  'userns_mode',
  'profiles',
  'pull_policy',
  'platform',
] as const

export const serviceSchema = z.strictObject({
  ...(Object.fromEntries(ignoredKeys.map((key) => [key, anything])) as Record<
    (typeof ignoredKeys)[number],
    typeof anything
  >),
  image: z.string().optional(),
  cap_add: z.array(z.string()).optional(),
  cap_drop: z.array(z.string()).optional(),
  command: stringOrList.nullish(),
  configs: z.array(fileReference).optional(),
  credential_spec: anything,
  deploy: deploy.nullish(),
  dns: stringOrList.optional(),
  dns_search: stringOrList.optional(),
  entrypoint: stringOrList.nullish(),
  env_file: stringOrList.optional(),
  environment: mapping.nullish(),
  extra_hosts: mapping.optional(),
  healthcheck: z
    .strictObject({
      disable: flag.optional(),
      interval: z.string().optional(),
      retries: natural.optional(),
      test: stringOrList.optional(),
      timeout: z.string().optional(),
      start_period: z.string().optional(),
      start_interval: z.string().optional(),
    })
    .optional(),
  hostname: z.string().optional(),
  init: flag.optional(),
  isolation: z.string().optional(),
  labels: mapping.nullish(),
  logging: z
    .strictObject({ driver: z.string().optional(), options: z.record(z.string(), scalar).optional() })
    .optional(),
  networks: z
    .union([
      z.array(z.string()),
      z.record(
        z.string(),
        z
          .strictObject({
            aliases: z.array(z.string()).optional(),
            driver_opts: z.record(z.string(), scalar).optional(),
            ipv4_address: z.string().optional(),
            ipv6_address: z.string().optional(),
          })
          .nullable(),
      ),
    ])
    .optional(),
  oom_score_adj: z.number().int().optional(),
  ports: z.array(port).optional(),
  read_only: flag.optional(),
  restart: z.string().optional(),
  secrets: z.array(fileReference).optional(),
  stdin_open: flag.optional(),
  stop_grace_period: z.string().optional(),
  stop_signal: z.string().optional(),
  sysctls: mapping.optional(),
  tmpfs: stringOrList.optional(),
  tty: flag.optional(),
  ulimits: z
    .record(z.string(), z.union([z.number(), z.strictObject({ soft: z.number(), hard: z.number() })]))
    .optional(),
  user: text.optional(),
  volumes: z.array(volume).optional(),
  working_dir: z.string().optional(),
})

const networkSchema = z
  .strictObject({
    name: z.string().optional(),
    driver: z.string().optional(),
    driver_opts: z.record(z.string(), scalar).optional(),
    ipam: z
      .strictObject({
        driver: z.string().optional(),
        config: z.array(z.strictObject({ subnet: z.string().optional() })).optional(),
      })
      .optional(),
    external: external.optional(),
    internal: flag.optional(),
    attachable: flag.optional(),
    labels: mapping.optional(),
  })
  .nullable()

const volumeSchema = z
  .strictObject({
    name: z.string().optional(),
    driver: z.string().optional(),
    driver_opts: z.record(z.string(), scalar).optional(),
    external: external.optional(),
    labels: mapping.optional(),
    'x-cluster-spec': anything,
  })
  .nullable()

const dataSchema = z.strictObject({
  name: z.string().optional(),
  file: z.string().optional(),
  external: external.optional(),
  labels: mapping.optional(),
  driver: z.string().optional(),
  driver_opts: z.record(z.string(), scalar).optional(),
  template_driver: z.string().optional(),
})

export const stackSchema = z.strictObject({
  version: text.optional(),
  name: z.string().optional(),
  services: z.record(z.string(), serviceSchema).default({}),
  networks: z.record(z.string(), networkSchema).default({}),
  volumes: z.record(z.string(), volumeSchema).default({}),
  secrets: z.record(z.string(), dataSchema).default({}),
  configs: z.record(z.string(), dataSchema).default({}),
})

export type StackFile = z.infer<typeof stackSchema>
export type ServiceFile = z.infer<typeof serviceSchema>
