import * as z from 'zod'
import { serviceSpecSchema, type ServiceSpec } from './service.ts'

const labels = z.record(z.string(), z.string())

/** A member's settings. The document's name is the NodeId; that it exists *is* the membership (the allow-list). */
export const nodeSpecSchema = z.object({
  /** Docker's optional node name; the host name stands in the node's record. */
  Name: z.string().optional(),
  Labels: labels.default({}),
  /** Every Moot node is a manager to Docker's clients; `worker` is accepted and shown, and changes nothing. */
  Role: z.enum(['manager', 'worker']).default('manager'),
  Availability: z.enum(['active', 'pause', 'drain']).default('active'),
  /** Raw ed25519 public key, base64. Written once, at init or join. */
  PublicKey: z.string(),
  /** Where the member could be reached when it joined (multiaddrs); newer ones stand in its record. */
  Addresses: z.array(z.string()).default([]),
})

/** Docker's NetworkCreate body, kept as given. */
export const networkSpecSchema = z.object({
  Name: z.string(),
  Driver: z.string().default('overlay'),
  Labels: labels.default({}),
  Options: labels.default({}),
  Attachable: z.boolean().default(false),
  Internal: z.boolean().default(false),
  Ingress: z.boolean().default(false),
  EnableIPv6: z.boolean().default(false),
  IPAM: z
    .object({
      Driver: z.string().optional(),
      Options: labels.optional(),
      Config: z
        .array(
          z.object({
            Subnet: z.string().optional(),
            Gateway: z.string().optional(),
            IPRange: z.string().optional(),
            AuxiliaryAddresses: labels.optional(),
          }),
        )
        .optional(),
    })
    .optional(),
})

/** Docker's SecretSpec / ConfigSpec: `Data` is base64. */
export const dataSpecSchema = z.object({
  Name: z.string(),
  Labels: labels.default({}),
  Data: z.string().optional(),
  Driver: z.object({ Name: z.string(), Options: labels.optional() }).optional(),
  Templating: z.object({ Name: z.string().optional(), Options: labels.optional() }).optional(),
})

/** One document, named `cluster`: what holds for all. */
export const clusterSpecSchema = z.object({
  /** 25 base-36 characters, drawn at `moot init`. */
  ClusterId: z.string(),
  Labels: labels.default({}),
  /** `docker swarm init --default-addr-pool`: where subnets are drawn from. Absent: Moot's own. */
  DefaultAddrPool: z.array(z.string()).optional(),
  /** `--default-addr-pool-mask-length`: bits of a subnet that is drawn from that pool. */
  SubnetSize: z.number().int().optional(),
  /** How many ended tasks each slot keeps for `docker service ps` (Docker's default 5). */
  TaskHistoryRetentionLimit: z.number().int().min(0).default(5),
})

export type NodeSpec = z.infer<typeof nodeSpecSchema>
export type NetworkSpec = z.infer<typeof networkSpecSchema>
export type DataSpec = z.infer<typeof dataSpecSchema>
export type ClusterSpec = z.infer<typeof clusterSpecSchema>

/** The shape of each kind of document. */
export interface SpecOf {
  service: ServiceSpec
  network: NetworkSpec
  secret: DataSpec
  config: DataSpec
  node: NodeSpec
  cluster: ClusterSpec
}
export type SpecKind = keyof SpecOf

export const specSchemas = {
  service: serviceSpecSchema,
  network: networkSpecSchema,
  secret: dataSpecSchema,
  config: dataSpecSchema,
  node: nodeSpecSchema,
  cluster: clusterSpecSchema,
} as const satisfies { [K in SpecKind]: z.ZodType<SpecOf[K]> }
