import type { NodeId, Storage } from '@moot/crdt-state'
import * as z from 'zod'
import type { Home } from './home.ts'
import { introductionSchema } from './join/introduction.ts'
import type { FileDamage } from './kept-file.ts'

const membershipSchema = z.object({
  kind: z.enum(['active', 'removed']),
  clusterId: z.string(),
  /** What a person gave to `init` or `join`. (`advertise`, as older agents wrote it, may be a guess, and is not read.) */
  advertised: z.string().optional(),
  /** Who admitted this node. One that cannot be read must not cost the membership. */
  introduction: introductionSchema.optional().catch(undefined),
  by: z.string().optional(),
  atMs: z.number().optional(),
})
export type StoredMembership = z.infer<typeof membershipSchema>

const noteSchema = z.object({
  membership: membershipSchema,
  members: z.record(z.string(), z.array(z.string())),
})

export type KnownMembers = ReadonlyMap<NodeId, readonly string[]>

/**
 * Which cluster this node is in, and where its other members were last seen. It stands in the store and, with the
 * members, in a note beside it: an agent whose store is lost must not take itself for a new one while its containers
 * run, and can be healed only by peers that it still knows.
 */
export interface MembershipMemory {
  read(): StoredMembership | undefined
  write(membership: StoredMembership): Promise<void>
  /** Whom to ask, and to believe, when the store has lost who is a member. */
  members(): KnownMembers
  rememberMembers(members: KnownMembers): void
  damage(): readonly FileDamage[]
}

const key = 'membership'

export function openMembershipMemory(home: Home, storage: Storage): MembershipMemory {
  const damage: FileDamage[] = []
  const fromStore = storeRow(storage)
  const lost = storage.damaged().find((each) => each.table === 'meta' && each.key === key)
  if (lost !== undefined) damage.push({ what: `meta ${key}`, setAsideAs: lost.setAsideAs, healed: false })
  let note = readNote(home, damage)
  let membership = fromStore ?? note?.membership
  let members: KnownMembers = new Map(
    Object.entries(note?.members ?? {}).map(([node, addresses]) => [node as NodeId, addresses]),
  )
  let written = JSON.stringify(note)

  function writeNote(): void {
    if (membership === undefined) return
    note = { membership, members: Object.fromEntries([...members].map(([node, at]) => [node, [...at]])) }
    const text = JSON.stringify(note)
    if (text === written) return
    home.writeNote(text)
    written = text
  }

  return {
    read: () => membership,
    async write(next) {
      const bytes = new TextEncoder().encode(JSON.stringify(next))
      await storage.commit([{ kind: 'put', table: 'meta', key, bytes }])
      // Who was a member of another cluster, or of this one before this node was removed, is none that was forgotten.
      if (membership?.clusterId !== next.clusterId || membership.kind !== next.kind) members = new Map()
      membership = next
      writeNote()
      for (const [index, each] of damage.entries()) damage[index] = { ...each, healed: true }
    },
    members: () => members,
    rememberMembers(next) {
      members = next
      writeNote()
    },
    damage: () => [...damage],
  }
}

function storeRow(storage: Storage): StoredMembership | undefined {
  const bytes = storage.get('meta', key)
  return bytes === undefined ? undefined : parsed(membershipSchema, new TextDecoder().decode(bytes))
}

function readNote(home: Home, damage: FileDamage[]): z.infer<typeof noteSchema> | undefined {
  try {
    const text = home.readNote()
    return text === undefined ? undefined : parsed(noteSchema, text)
  } catch (error) {
    // Both copies: the store's row is left, and the note is written anew.
    damage.push({
      what: error instanceof Error ? error.message : String(error),
      setAsideAs: 'nowhere',
      healed: false,
    })
    return undefined
  }
}

/** Undefined: of a version that this one cannot read. */
function parsed<T>(schema: z.ZodType<T>, text: string): T | undefined {
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}
