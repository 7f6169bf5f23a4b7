import type { NodeId, Storage } from '@moot/crdt-state'
import * as z from 'zod'
import { founderEpoch } from '../core/lease/epoch.ts'
import { type Durable, freshDurable, type Kept, noneKept } from '../core/lease/voter.ts'
import type { BootMemory } from '../ports/boot-memory.ts'
import { acceptanceSchema, ballotSchema, epochSchema, heldSchema } from './lease-wire.ts'

const row = { table: 'lease', key: 'seat' } as const

const durableSchema = z.object({
  cluster: z.string(),
  disk: z.string(),
  epoch: epochSchema,
  promised: ballotSchema.exactOptional(),
  accepted: acceptanceSchema.exactOptional(),
  fence: z.int(),
  loosened: z.array(z.tuple([z.string(), z.number()])),
})

/** `epoch`: of the durable part that it was kept with. */
const keptSchema = z.object({
  disk: z.string(),
  epoch: z.int(),
  isComplete: z.boolean(),
  held: heldSchema,
})

/** Where a node remembers what it has promised: on its disk, and in memory that lasts as long as the boot. */
export interface LeaseDisk {
  /** At a start. Whoever finds none, or a damaged one, or another cluster's, has another seat, which nobody has voted in. */
  open(): Promise<{ readonly durable: Durable; readonly kept: Kept | undefined }>
  /** Resolves when it is on the disk. */
  persist(durable: Durable): Promise<void>
  keep(kept: Kept, durable: Durable): Promise<void>
}

export function leaseDisk(options: {
  readonly clusterId: string
  readonly self: NodeId
  readonly storage: Storage
  readonly memory: BootMemory
  readonly randomHex: (bytes: number) => string
  /** This node founds the cluster: it is the first voter. */
  readonly isFounder: boolean
}): LeaseDisk {
  const { clusterId, self, storage, memory, randomHex, isFounder } = options

  async function persist(durable: Durable): Promise<void> {
    const bytes = new TextEncoder().encode(
      JSON.stringify({ cluster: clusterId, ...durable, loosened: [...durable.loosened] }),
    )
    await storage.commit([{ kind: 'put', ...row, bytes }])
  }

  const keep: LeaseDisk['keep'] = ({ isComplete, held }, { disk, epoch }) =>
    memory.write(JSON.stringify({ disk, epoch: epoch.number, isComplete, held }))

  return {
    persist,
    async open() {
      const found = readDurable(storage.get(row.table, row.key), clusterId)
      if (found !== undefined) return { durable: found, kept: readKept(memory, found) }
      const disk = randomHex(8)
      const durable = freshDurable(disk, isFounder ? founderEpoch({ node: self, disk }) : undefined)
      await persist(durable)
      // Where it cannot be written the next start is silent for a while, and this one grants nothing.
      await keep(noneKept, durable).catch(() => undefined)
      return { durable, kept: noneKept }
    },
    keep,
  }
}

function readDurable(bytes: Uint8Array | undefined, clusterId: string): Durable | undefined {
  const parsed = bytes === undefined ? undefined : read(durableSchema, new TextDecoder().decode(bytes))
  if (parsed?.cluster !== clusterId) return undefined
  const { cluster: _, loosened, ...durable } = parsed
  return { ...durable, loosened: new Map(loosened) as unknown as Durable['loosened'] }
}

/**
 * Of another epoch it tells nothing of what this one's voters are bound to: the process has ended between two writes. Then
 * it is as if nothing were known.
 */
function readKept(memory: BootMemory, durable: Durable): Kept | undefined {
  const text = memory.read()
  const parsed = text === undefined ? undefined : read(keptSchema, text)
  if (parsed?.disk !== durable.disk || parsed.epoch !== durable.epoch.number) return undefined
  return { isComplete: parsed.isComplete, held: parsed.held }
}

function read<T>(schema: z.ZodType<T>, text: string): T | undefined {
  try {
    const parsed = schema.safeParse(JSON.parse(text))
    return parsed.success ? parsed.data : undefined
  } catch {
    return undefined
  }
}
