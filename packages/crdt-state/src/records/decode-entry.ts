import * as z from 'zod'
import {
  type Alert,
  type BlockClaims,
  type GuestEntry,
  type NodeStatus,
  type Rejection,
  type TaskEntry,
  taskStates,
  type UpdateFacts,
} from '../record.ts'

export type DecodedEntry =
  | { readonly kind: 'status'; readonly value: NodeStatus }
  | { readonly kind: 'task'; readonly value: TaskEntry }
  | { readonly kind: 'alert'; readonly value: Alert }
  | { readonly kind: 'update'; readonly value: UpdateFacts }
  | { readonly kind: 'rejection'; readonly value: Rejection }
  | { readonly kind: 'block'; readonly value: BlockClaims }
  | { readonly kind: 'guest'; readonly value: GuestEntry }

const id = z.string().min(1)
const count = z.number()

const statusSchema = z.looseObject({
  hostname: z.string(),
  addresses: z.array(z.string()),
  meshAddresses: z.array(z.string()),
  agentVersion: z.string(),
  rules: z.array(z.number()),
  engine: z.discriminatedUnion('state', [
    z.looseObject({
      state: z.literal('up'),
      version: z.string(),
      apiVersion: z.string(),
      bootId: z.string(),
    }),
    z.looseObject({ state: z.literal('down'), error: z.string(), forLong: z.boolean().optional() }),
  ]),
  platform: z.looseObject({ os: z.string(), architecture: z.string() }),
  capacity: z.looseObject({
    nanoCpus: count,
    memoryBytes: count,
    generic: z.array(z.looseObject({ kind: z.string(), value: z.union([count, z.array(z.string())]) })),
    maxTasks: count,
  }),
  engineLabels: z.record(z.string(), z.string()),
  plugins: z.array(z.looseObject({ type: z.string(), name: z.string() })),
  volumes: z.array(z.string()),
  seat: z.looseObject({ disk: z.string(), epoch: count }).optional(),
  wireGuard: z
    .looseObject({
      keys: z.array(z.looseObject({ round: z.number().int().min(0), key: z.string() })),
      uses: z.number().int().optional(),
    })
    .optional(),
})

const taskSchema = z.looseObject({
  id,
  service: id,
  slot: z.union([z.number().int(), id]),
  attempt: z.number().int(),
  digest: z.string(),
  serviceVersion: count,
  desired: z.enum(['ready', 'running', 'shutdown', 'remove']),
  state: z.enum(taskStates),
  seenEpoch: count.optional(),
  createdAtMs: count,
  stateAtMs: count,
  message: z.string().optional(),
  error: z.string().optional(),
  unready: z.looseObject({ sinceMs: count, why: z.string() }).optional(),
  illness: z
    .looseObject({ kind: z.enum(['waiting', 'held', 'stopping']), sinceMs: count, why: z.string() })
    .optional(),
  exitCode: count.optional(),
  containerId: z.string().optional(),
  pid: count.optional(),
  ports: z.array(z.looseObject({ protocol: z.string(), target: count, published: count })).optional(),
  addresses: z
    .array(z.looseObject({ network: z.string(), address: z.string(), id: id.optional() }))
    .optional(),
  assumed: z.array(z.string()).optional(),
  constraints: z.array(z.string()).optional(),
  leaves: z.looseObject({ update: z.string(), reason: z.string() }).optional(),
  balance: z
    .looseObject({
      kind: z.enum(['leaving', 'staying']),
      asked: count,
      sinceMs: count,
      shares: z.array(count),
    })
    .optional(),
  restart: z
    .looseObject({
      count,
      windowStartMs: count,
      notBeforeMs: count,
      total: count.optional(),
      recentMs: z.array(count).optional(),
      afterIllness: z.literal(true).optional(),
    })
    .optional(),
  fence: count.optional(),
  leased: z.string().optional(),
  lostLease: z.literal(true).optional(),
  done: z.literal(true).optional(),
})

const alertSchema = z.looseObject({
  target: id,
  evidence: z.enum(['suspected', 'refused', 'silent', 'judged', 'returned']),
  probation: z.literal(true).optional(),
  epoch: count,
  seq: count,
  sinceMs: count,
})

const updateSchema = z.looseObject({
  service: id,
  update: z.string(),
  slots: z.record(
    z.string(),
    z.looseObject({ state: z.enum(['begun', 'ok', 'failed']), atMs: count, why: z.string().optional() }),
  ),
  resumed: count.optional(),
})

const rejectionSchema = z.looseObject({
  service: id,
  digest: z.string(),
  reason: z.string(),
  atMs: count,
  isShort: z.boolean().optional(),
})

const blockSchema = z.looseObject({
  network: id,
  subnet: z.string(),
  blocks: z.array(z.number().int().min(0)),
})

const guestSchema = z.looseObject({
  id,
  network: id,
  address: z.string(),
  aliases: z.array(z.string()),
  nameservers: z.array(z.string()),
  createdAtMs: count,
  container: z.looseObject({ id, name: z.string(), isUp: z.boolean() }).optional(),
})

/** A type whose readonly lists are plain ones, as zod infers them. */
type Plain<T> = T extends string | number | boolean | undefined
  ? T
  : T extends readonly (infer Item)[]
    ? Plain<Item>[]
    : { -readonly [Key in keyof T]: Plain<T[Key]> }
/** Does not compile when an interface of `record.ts` allows what its schema here would hide from the core. */
type Accepts<Value, Schema extends z.ZodType> = Plain<Value> extends z.input<Schema> ? true : never
true satisfies Accepts<NodeStatus, typeof statusSchema>
true satisfies Accepts<TaskEntry, typeof taskSchema>
true satisfies Accepts<Alert, typeof alertSchema>
true satisfies Accepts<UpdateFacts, typeof updateSchema>
true satisfies Accepts<Rejection, typeof rejectionSchema>
true satisfies Accepts<BlockClaims, typeof blockSchema>
true satisfies Accepts<GuestEntry, typeof guestSchema>

/**
 * What an entry says; undefined where its kind or its shape is not of this version. A signed record tells who wrote
 * it, not that the writer is sane: what reaches the core has at least the right types.
 */
export function decodeEntry(key: string, text: string): DecodedEntry | undefined {
  const slash = key.indexOf('/')
  const kind = slash < 0 ? key : key.slice(0, slash)
  const name = slash < 0 ? '' : key.slice(slash + 1)
  const value = parsedJson(text)
  const fits = (schema: z.ZodType, subject?: string): boolean =>
    schema.safeParse(value).success &&
    (subject === undefined || (value as Record<string, unknown>)[subject] === name)
  if (kind === 'status' && name === '' && fits(statusSchema)) return { kind, value: value as NodeStatus }
  if (kind === 'task' && fits(taskSchema, 'id')) return { kind, value: value as TaskEntry }
  if (kind === 'alert' && fits(alertSchema, 'target')) return { kind, value: value as Alert }
  if (kind === 'update' && fits(updateSchema, 'service')) return { kind, value: value as UpdateFacts }
  if (kind === 'rejection' && fits(rejectionSchema, 'service')) return { kind, value: value as Rejection }
  if (kind === 'block' && fits(blockSchema, 'network')) return { kind, value: value as BlockClaims }
  if (kind === 'guest' && fits(guestSchema, 'id')) return { kind, value: value as GuestEntry }
  return undefined
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
