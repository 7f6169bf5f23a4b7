import type { NodeId } from '@moot/crdt-state'
import * as z from 'zod'
import type { Voters } from '../../cluster.ts'
import { nodeDisplayName } from '../../core/view.ts'
import type { Api } from '../call.ts'
import { badRequest } from '../errors.ts'
import { nodeOf } from '../nodes.ts'
import { operation, type Operation } from './operation.ts'

/** Of one epoch; more than five only cost messages. */
const votersMax = 5

const votersSchema = z.object({
  epoch: z.number().describe('Grows with each change of voters; 0: this node has not heard who votes.'),
  health: z
    .enum(['well', 'weak', 'lost'])
    .describe('`weak`: leases go on; `lost`: no majority, so that exclusive tasks stop.'),
  message: z.string(),
  leases: z.number().describe('Slots that the epoch before has left held.'),
  voters: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      answers: z.boolean(),
      problem: z.string().optional().describe('Why its vote does not count.'),
    }),
  ),
})

function answerOf(api: Api, { epoch, candidates, health }: Voters): z.input<typeof votersSchema> {
  const view = api.cluster.view()
  return {
    epoch: epoch.number,
    health: health.kind,
    message: health.message,
    leases: epoch.held.length,
    voters: epoch.voters.map(({ node, disk }) => {
      const candidate = candidates.find((each) => each.node === node)
      const problem = problemOf(candidate, disk)
      return {
        id: node,
        name: nodeDisplayName(view, node),
        answers: candidate?.isUp === true && problem === undefined,
        ...(problem === undefined ? {} : { problem }),
      }
    }),
  }
}

function problemOf(candidate: Voters['candidates'][number] | undefined, disk: string): string | undefined {
  if (candidate === undefined) return 'is no member any more'
  if (candidate.disk !== undefined && candidate.disk !== disk) return 'has lost what it had promised'
  return candidate.isUp ? undefined : 'does not answer'
}

export const voterOperations: readonly Operation[] = [
  operation({
    method: 'GET',
    path: '/voters',
    summary: 'Who gives leases for exclusive services, and whether a majority of them answers',
    answer: votersSchema,
    run: (api) => answerOf(api, api.cluster.voters()),
  }),
  operation({
    method: 'POST',
    path: '/voters/force',
    summary:
      'DANGEROUS: name other voters without the present ones. If one of those still runs, exclusive tasks run twice',
    body: z.strictObject({
      nodes: z
        .array(z.string().min(1).max(255))
        .min(1)
        .max(votersMax)
        .describe('Ids, names or host names of one, three or five members.'),
    }),
    answer: votersSchema,
    run: async (api, _call, { nodes }) => {
      const ids = new Set(nodes.map((reference) => nodeOf(api, reference).name as NodeId))
      if (ids.size % 2 === 0)
        throw badRequest(
          `name one, three or five nodes, not ${ids.size}: an even number needs one more of them to agree and may lose no more`,
        )
      await api.cluster.forceVoters([...ids])
      return answerOf(api, api.cluster.voters())
    },
  }),
]
