import type { NodeId } from '@moot/crdt-state'
import * as z from 'zod'
import type { Cluster } from '../../cluster.ts'
import { isOnProbation } from '../../core/membership/liveness.ts'
import { nodeDisplayName } from '../../core/view.ts'
import { nodeAddress, sinceMsOf } from '../docker/node-shape.ts'
import { rulesTrouble } from '../rules-trouble.ts'
import { voterTrouble } from '../voter-trouble.ts'
import { abilityAnswer, abilitySchema, wireGuardAnswer, wireGuardSchema } from './network-ability.ts'
import { operation, type Operation } from './operation.ts'

const stateSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('inactive') }),
  z.object({ kind: z.literal('active'), clusterId: z.string() }),
  z.object({ kind: z.literal('removed'), clusterId: z.string(), by: z.string(), atMs: z.number() }),
])

const encryptionSchema = wireGuardSchema
  .extend({
    sealed: z.array(z.string()).describe('Names of nodes.'),
    open: z.array(z.string()).describe('Names of nodes that are sent to, and send, in clear text.'),
  })
  .describe('Of what this node and others send to each other over networks of the cluster.')

const statusSchema = z.looseObject({
  state: stateSchema,
  nodeId: z.string(),
  version: z.string(),
  peers: z.array(z.string()),
  cutOff: z
    .boolean()
    .optional()
    .describe(
      'No other member answers, nor does the way to them: this node takes nothing over from the others.',
    ),
  windingDown: z
    .boolean()
    .optional()
    .describe('This node is no member any more, and still stops and removes what it ran.'),
  encryption: encryptionSchema.optional(),
  rules: z.string().optional().describe('Why nothing is decided: agents of releases too far apart.'),
  voters: z.string().optional().describe('What is wrong with those that give leases to exclusive services.'),
  network: abilitySchema.optional(),
  portTroubles: z
    .array(z.object({ protocol: z.string(), port: z.number(), why: z.string() }))
    .optional()
    .describe('Published ports that this host cannot answer on.'),
  damage: z.array(z.object({ what: z.string(), setAsideAs: z.string(), healed: z.boolean() })),
})

const nodeSchema = z.object({
  id: z.string(),
  name: z.string(),
  address: z.string(),
  availability: z.string(),
  liveness: z.string(),
  observers: z.array(z.string()).describe('Those that say so, where it is not alive.'),
  sinceMs: z.number().optional().describe('When the first of them said so, by its own clock.'),
  onProbation: z
    .boolean()
    .describe('Back after it was away for long or often: given half as many new tasks.'),
  agentVersion: z.string().optional(),
  engine: z.string().optional(),
  recordEpoch: z.number().optional(),
  recordSeq: z.number().optional(),
  tasks: z.number(),
})

function encryptionShape(cluster: Cluster): { encryption?: z.input<typeof encryptionSchema> } {
  const encryption = cluster.state().kind === 'active' ? cluster.encryption() : undefined
  if (encryption === undefined) return {}
  const { wireGuard, sealed, open } = encryption
  const names = (nodes: readonly NodeId[]): string[] =>
    nodes.map((node) => nodeDisplayName(cluster.view(), node))
  return {
    encryption: {
      ...wireGuardAnswer(wireGuard),
      sealed: names(sealed),
      open: names(open),
    },
  }
}

export const statusOperations: readonly Operation[] = [
  operation({
    method: 'GET',
    path: '/status',
    summary: 'What this node says of itself: its cluster, its peers, its store',
    answer: statusSchema,
    anywhere: true,
    run: ({ cluster, agentVersion }) => {
      const figures = cluster.status()
      const peers = figures['peers']
      const trouble = voterTrouble(cluster)
      const rules = rulesTrouble(cluster)
      const network = cluster.state().kind === 'active' ? cluster.network() : undefined
      return {
        ...figures,
        ...(network && {
          network: abilityAnswer(network.ability()),
          portTroubles: network.troubles().map((each) => ({ ...each })),
        }),
        ...encryptionShape(cluster),
        ...(trouble === undefined ? {} : { voters: trouble }),
        ...(rules === undefined ? {} : { rules }),
        state: cluster.state(),
        nodeId: cluster.self,
        version: agentVersion,
        peers: Array.isArray(peers) ? peers.map(String) : [],
        damage: cluster.damage().map((each) => ({ ...each })),
      }
    },
  }),
  operation({
    method: 'GET',
    path: '/nodes',
    summary: 'Every member as this node sees it, with its liveness',
    answer: z.array(nodeSchema),
    run: ({ cluster }) => {
      const view = cluster.view()
      const liveness = cluster.liveness()
      return [...view.nodes.values()].map((node) => {
        const id = node.name as NodeId
        const record = view.records.get(id)
        const seen = liveness.get(id)
        const engine = record?.status?.engine
        const observers = seen !== undefined && 'observers' in seen ? [...seen.observers] : []
        const sinceMs = sinceMsOf(view, id, observers)
        return {
          id,
          name: nodeDisplayName(view, id),
          address: nodeAddress(node, record),
          availability: node.spec.Availability,
          liveness: seen?.kind ?? 'unknown',
          observers,
          ...(sinceMs === undefined ? {} : { sinceMs }),
          onProbation: isOnProbation(seen),
          ...(record?.status === undefined ? {} : { agentVersion: record.status.agentVersion }),
          ...(engine === undefined
            ? {}
            : { engine: engine.state === 'up' ? engine.version : `down: ${engine.error}` }),
          ...(record === undefined ? {} : { recordEpoch: record.epoch, recordSeq: record.seq }),
          tasks: record?.tasks.size ?? 0,
        }
      })
    },
  }),
]
