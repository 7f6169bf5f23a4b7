import type { Context } from '../context.ts'
import type { NodeAnswer } from '../docker-types.ts'

export async function findNode(context: Context, reference: string): Promise<NodeAnswer> {
  return context.client.json<NodeAnswer>('GET', `/nodes/${encodeURIComponent(reference)}`)
}

/** Gives the node as it was. */
export async function updateNode(
  context: Context,
  reference: string,
  change: Partial<NodeAnswer['Spec']>,
): Promise<NodeAnswer> {
  const node = await findNode(context, reference)
  await context.client.json('POST', `/nodes/${node.ID}/update`, {
    query: { version: String(node.Version.Index) },
    body: { ...node.Spec, ...change },
  })
  return node
}
