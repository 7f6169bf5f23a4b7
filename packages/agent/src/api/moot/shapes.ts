import type { Author } from '@moot/crdt-state'
import * as z from 'zod'

/** Who made a change. Display only. */
export const authorSchema = z.object({ node: z.string(), client: z.string(), atMs: z.number() })

export function authorShape(author: Author | undefined): { author?: z.infer<typeof authorSchema> } {
  if (author === undefined) return {}
  return { author: { node: author.node, client: author.client, atMs: author.atMs } }
}

export const tokenSchema = z.object({
  token: z.string().describe('Used once, with `moot join` or `docker swarm join --token`.'),
  expiresAtMs: z.number().describe('On the clock of the node that made it.'),
})

export const specKinds = ['service', 'network', 'secret', 'config', 'node', 'cluster'] as const
export const kindSchema = z.enum(specKinds)
