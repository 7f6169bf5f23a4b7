import * as z from 'zod'

/**
 * Docker's ServiceSpec (Engine API v1.50 `ServiceSpec`, `TaskSpec`), the one schema for the edge and for what is
 * stored. Field names, units and meaning are Docker's: durations in nanoseconds, memory in bytes, CPU in billionths.
 * An empty text is Go's "not given" and means the default. `null` is dropped before parsing (Go encodes an absent slice or map as null). Unknown fields are stripped here; the
 * API compares and warns about them.
 */
const int = z.number().int()
const natural = int.min(0)
const labels = z.record(z.string(), z.string())

const mountSchema = z.object({
  Type: z.enum(['bind', 'volume', 'tmpfs', 'npipe', 'cluster', 'image']).default('volume'),
  Source: z.string().optional(),
  Target: z.string().min(1),
  ReadOnly: z.boolean().optional(),
  Consistency: z.string().optional(),
  BindOptions: z
    .object({
      Propagation: z.enum(['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave']).optional(),
      NonRecursive: z.boolean().optional(),
      CreateMountpoint: z.boolean().optional(),
      ReadOnlyNonRecursive: z.boolean().optional(),
      ReadOnlyForceRecursive: z.boolean().optional(),
    })
    .optional(),
  VolumeOptions: z
    .object({
      NoCopy: z.boolean().optional(),
      Labels: labels.optional(),
      Subpath: z.string().optional(),
      DriverConfig: z.object({ Name: z.string().optional(), Options: labels.optional() }).optional(),
    })
    .optional(),
  TmpfsOptions: z
    .object({
      SizeBytes: natural.optional(),
      Mode: natural.optional(),
      Options: z.array(z.array(z.string())).optional(),
    })
    .optional(),
  ImageOptions: z.object({ Subpath: z.string().optional() }).optional(),
  ClusterOptions: z.object({}).optional(),
})

const fileTargetSchema = z.object({
  Name: z.string(),
  UID: z.string().optional(),
  GID: z.string().optional(),
  Mode: natural.optional(),
})

const healthcheckSchema = z.object({
  Test: z.array(z.string()).optional(),
  Interval: natural.optional(),
  Timeout: natural.optional(),
  StartPeriod: natural.optional(),
  StartInterval: natural.optional(),
  Retries: natural.optional(),
})

const containerSpecSchema = z.object({
  Image: z.string().min(1),
  Labels: labels.optional(),
  Command: z.array(z.string()).optional(),
  Args: z.array(z.string()).optional(),
  Hostname: z.string().optional(),
  Env: z.array(z.string()).optional(),
  Dir: z.string().optional(),
  User: z.string().optional(),
  Groups: z.array(z.string()).optional(),
  Privileges: z
    .object({
      CredentialSpec: z
        .object({
          Config: z.string().optional(),
          File: z.string().optional(),
          Registry: z.string().optional(),
        })
        .optional(),
      SELinuxContext: z
        .object({
          Disable: z.boolean().optional(),
          User: z.string().optional(),
          Role: z.string().optional(),
          Type: z.string().optional(),
          Level: z.string().optional(),
        })
        .optional(),
      Seccomp: z
        .object({
          Mode: z.enum(['', 'default', 'unconfined', 'custom']).optional(),
          Profile: z.string().optional(),
        })
        .optional(),
      AppArmor: z.object({ Mode: z.enum(['', 'default', 'disabled']).optional() }).optional(),
      NoNewPrivileges: z.boolean().optional(),
    })
    .optional(),
  TTY: z.boolean().optional(),
  OpenStdin: z.boolean().optional(),
  ReadOnly: z.boolean().optional(),
  Mounts: z.array(mountSchema).optional(),
  StopSignal: z.string().optional(),
  StopGracePeriod: natural.optional(),
  Healthcheck: healthcheckSchema.optional(),
  Hosts: z.array(z.string()).optional(),
  DNSConfig: z
    .object({
      Nameservers: z.array(z.string()).optional(),
      Search: z.array(z.string()).optional(),
      Options: z.array(z.string()).optional(),
    })
    .optional(),
  Secrets: z
    .array(
      z.object({
        File: fileTargetSchema.optional(),
        SecretID: z.string(),
        SecretName: z.string().optional(),
      }),
    )
    .optional(),
  OomScoreAdj: int.optional(),
  Configs: z
    .array(
      z.object({
        File: fileTargetSchema.optional(),
        Runtime: z.object({}).optional(),
        ConfigID: z.string(),
        ConfigName: z.string().optional(),
      }),
    )
    .optional(),
  Isolation: z.string().optional(),
  Init: z.boolean().optional(),
  Sysctls: labels.optional(),
  CapabilityAdd: z.array(z.string()).optional(),
  CapabilityDrop: z.array(z.string()).optional(),
  Ulimits: z.array(z.object({ Name: z.string(), Soft: int, Hard: int })).optional(),
})

const genericResourceSchema = z.object({
  NamedResourceSpec: z.object({ Kind: z.string(), Value: z.string() }).optional(),
  DiscreteResourceSpec: z.object({ Kind: z.string(), Value: natural }).optional(),
})

const resourceLimitSchema = z.object({
  NanoCPUs: natural.optional(),
  MemoryBytes: natural.optional(),
  Pids: natural.optional(),
})
const resourceReservationSchema = z.object({
  NanoCPUs: natural.optional(),
  MemoryBytes: natural.optional(),
  GenericResources: z.array(genericResourceSchema).optional(),
})

const networkAttachmentSchema = z.object({
  Target: z.string().min(1),
  Aliases: z.array(z.string()).optional(),
  DriverOpts: labels.optional(),
})

export const taskTemplateSchema = z.object({
  ContainerSpec: containerSpecSchema,
  Resources: z
    .object({ Limits: resourceLimitSchema.optional(), Reservations: resourceReservationSchema.optional() })
    .optional(),
  RestartPolicy: z
    .object({
      Condition: z.enum(['', 'none', 'on-failure', 'any']).optional(),
      Delay: natural.optional(),
      MaxAttempts: natural.optional(),
      Window: natural.optional(),
    })
    .optional(),
  Placement: z
    .object({
      Constraints: z.array(z.string()).optional(),
      Preferences: z.array(z.object({ Spread: z.object({ SpreadDescriptor: z.string() }) })).optional(),
      MaxReplicas: natural.optional(),
      Platforms: z
        .array(z.object({ Architecture: z.string().optional(), OS: z.string().optional() }))
        .optional(),
    })
    .optional(),
  ForceUpdate: natural.optional(),
  Runtime: z.string().optional(),
  Networks: z.array(networkAttachmentSchema).optional(),
  LogDriver: z.object({ Name: z.string().optional(), Options: labels.optional() }).optional(),
})

const updateConfigSchema = z.object({
  Parallelism: natural.default(1),
  Delay: natural.optional(),
  FailureAction: z.enum(['', 'pause', 'continue', 'rollback']).optional(),
  Monitor: natural.optional(),
  MaxFailureRatio: z.number().min(0).max(1).optional(),
  Order: z.enum(['', 'stop-first', 'start-first']).optional(),
})

const portConfigSchema = z.object({
  Name: z.string().optional(),
  Protocol: z.enum(['tcp', 'udp', 'sctp']).default('tcp'),
  TargetPort: int.min(1).max(65535),
  PublishedPort: natural.max(65535).optional(),
  PublishMode: z.enum(['ingress', 'host']).default('ingress'),
})

const jobModeSchema = z.object({ MaxConcurrent: natural.optional(), TotalCompletions: natural.optional() })

export const serviceSpecSchema = z.object({
  Name: z.string(),
  Labels: labels.default({}),
  TaskTemplate: taskTemplateSchema,
  Mode: z
    .object({
      Replicated: z.object({ Replicas: natural.optional() }).optional(),
      Global: z.object({}).optional(),
      ReplicatedJob: jobModeSchema.optional(),
      GlobalJob: z.object({}).optional(),
    })
    .default({ Replicated: { Replicas: 1 } }),
  UpdateConfig: updateConfigSchema.optional(),
  RollbackConfig: updateConfigSchema.optional(),
  Networks: z.array(networkAttachmentSchema).optional(),
  EndpointSpec: z
    .object({ Mode: z.enum(['', 'vip', 'dnsrr']).optional(), Ports: z.array(portConfigSchema).optional() })
    .optional(),
})

export type ServiceSpec = z.infer<typeof serviceSpecSchema>
export type TaskTemplate = z.infer<typeof taskTemplateSchema>
export type ContainerSpec = z.infer<typeof containerSpecSchema>
export type Mount = z.infer<typeof mountSchema>
export type PortConfig = z.infer<typeof portConfigSchema>
export type NetworkAttachment = z.infer<typeof networkAttachmentSchema>
export type UpdateConfig = z.infer<typeof updateConfigSchema>
export type GenericResource = z.infer<typeof genericResourceSchema>
export type Healthcheck = z.infer<typeof healthcheckSchema>
