import * as z from 'zod'
import { authorOf, flag } from '../call.ts'
import { operation, type Operation } from './operation.ts'
import { tokenSchema } from './shapes.ts'

const maxTokenTtlMs = 30 * 24 * 60 * 60 * 1000
const advertise = z
  .string()
  .min(1)
  .max(255)
  .optional()
  .describe('The address at which other nodes reach this one.')

export const membershipOperations: readonly Operation[] = [
  operation({
    method: 'POST',
    path: '/init',
    summary: 'Begin a cluster with this node as its first member',
    body: z.strictObject({ advertise }),
    answer: tokenSchema,
    anywhere: true,
    run: async (api, call, body) => {
      const token = await api.cluster.init({ advertise: body.advertise, author: authorOf(api, call) })
      api.joinTokens.keep(token)
      return { token: token.token, expiresAtMs: token.expiresAtMs }
    },
  }),
  operation({
    method: 'POST',
    path: '/join',
    summary: 'Join the cluster of the node that made the token',
    body: z.strictObject({ token: z.string().min(1).max(4096), advertise }),
    answer: z.object({ nodeId: z.string(), clusterId: z.string() }),
    anywhere: true,
    run: async (api, call, body) => {
      await api.cluster.join(body.token, { advertise: body.advertise, author: authorOf(api, call) })
      const state = api.cluster.state()
      return { nodeId: api.cluster.self, clusterId: state.kind === 'inactive' ? '' : state.clusterId }
    },
  }),
  operation({
    method: 'POST',
    path: '/leave',
    summary: "Stop this node's tasks and forget the cluster",
    query: {
      force:
        '1: also as the last node, whose specs are lost with it, or when its containers cannot be stopped',
    },
    answer: z.object({}),
    anywhere: true,
    run: async (api, call) => {
      await api.cluster.leave({ force: flag(call.query, 'force'), author: authorOf(api, call) })
      return {}
    },
  }),
  operation({
    method: 'POST',
    path: '/tokens',
    summary: 'Make a one-time join token',
    body: z.strictObject({ ttlMs: z.number().int().min(1_000).max(maxTokenTtlMs).optional() }),
    answer: tokenSchema,
    run: async (api, _call, body) => {
      const ttlMs = body.ttlMs ?? api.settings.joinTokenTtlMs
      const { token, expiresAtMs } = await api.cluster.createToken({ ttlMs })
      return { token, expiresAtMs }
    },
  }),
  operation({
    method: 'GET',
    path: '/tokens',
    summary: 'The tokens that this node made',
    answer: z.array(z.object({ id: z.string(), expiresAtMs: z.number(), usedBy: z.string().optional() })),
    run: (api) =>
      api.cluster.tokens().map(({ id, expiresAtMs, usedBy }) => ({
        id,
        expiresAtMs,
        ...(usedBy === undefined ? {} : { usedBy }),
      })),
  }),
]
