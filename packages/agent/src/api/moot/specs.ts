import type { Resource, SpecKind, SpecOf } from '@moot/crdt-state'
import * as z from 'zod'
import type { View } from '../../core/view.ts'
import { type Api, authorOf, type Call, param } from '../call.ts'
import { resolve } from '../resolve.ts'
import { parseWith } from '../schema-errors.ts'
import { operation, type Operation } from './operation.ts'
import { authorSchema, authorShape, kindSchema } from './shapes.ts'

type AnyResource = Resource<SpecOf[SpecKind]>

function resourcesOf(view: View, kind: SpecKind): readonly AnyResource[] {
  switch (kind) {
    case 'service':
      return [...view.services.values()]
    case 'network':
      return [...view.networks.values()]
    case 'secret':
      return [...view.secrets.values()]
    case 'config':
      return [...view.configs.values()]
    case 'node':
      return [...view.nodes.values()]
    case 'cluster':
      return view.cluster === undefined ? [] : [view.cluster]
  }
}

function kindOf(call: Call): SpecKind {
  return parseWith(kindSchema, param(call, 'kind'), 'kind')
}

function resourceOf(api: Api, kind: SpecKind, reference: string): AnyResource {
  return resolve(
    kind,
    reference,
    resourcesOf(api.cluster.view(), kind),
    ({ id }) => id,
    ({ name }) => name,
  )
}

export const specOperations: readonly Operation[] = [
  operation({
    method: 'GET',
    path: '/history/:kind/:ref',
    summary: 'Who changed what and when, oldest first',
    answer: z.array(
      z.object({
        author: authorSchema.optional(),
        action: z.enum(['create', 'update', 'rollback', 'fact']),
        paths: z.array(z.string()).describe('JSON pointers of the fields that this change wrote.'),
        heads: z.array(z.string()),
        spec: z.unknown(),
      }),
    ),
    run: (api, call) => {
      const kind = kindOf(call)
      const { id } = resourceOf(api, kind, param(call, 'ref'))
      return api.cluster.history(kind, id).map((entry) => ({
        ...authorShape(entry.author),
        action: entry.action,
        paths: [...entry.paths],
        heads: [...entry.heads],
        spec: entry.spec,
      }))
    },
  }),
  operation({
    method: 'GET',
    path: '/conflicts',
    summary: 'Fields to which several values were written at once, and which one is in force',
    answer: z.array(
      z.object({
        kind: kindSchema,
        id: z.string(),
        name: z.string(),
        path: z.string(),
        winner: z.unknown(),
        losers: z.array(z.object({ value: z.unknown(), author: authorSchema.optional() })),
      }),
    ),
    run: ({ cluster }) =>
      kindSchema.options.flatMap((kind) =>
        resourcesOf(cluster.view(), kind).flatMap(({ id, name, conflicts }) =>
          conflicts.map(({ path, winner, losers }) => ({
            kind,
            id,
            name,
            path,
            winner,
            losers: losers.map(({ value, author }) => ({ value, ...authorShape(author) })),
          })),
        ),
      ),
  }),
  operation({
    method: 'POST',
    path: '/restore/:kind/:name',
    summary: 'Bring a removed resource back with the spec that it had',
    answer: z.object({ id: z.string(), name: z.string(), warnings: z.array(z.string()) }),
    run: async (api, call) => {
      const restored = await api.cluster.restore(kindOf(call), param(call, 'name'), authorOf(api, call))
      const { id, name } = restored.resource
      return { id, name, warnings: [...restored.warnings] }
    },
  }),
]
