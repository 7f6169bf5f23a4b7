import * as z from 'zod'
import type { NetworkAbility } from '../../networks.ts'
import type { WireGuardAbility } from '../../ports/data-plane.ts'

export const abilitySchema = z
  .discriminatedUnion('kind', [
    z.object({ kind: z.literal('kernel'), version: z.string() }),
    z.object({
      kind: z.enum(['userland', 'none']),
      why: z.string().describe('Why not the kernel, and what to do about it.'),
    }),
  ])
  .describe(
    'Who balances here: the kernel, also networks over hosts; or a forwarder in userland, only published ports; or nobody.',
  )

export function abilityAnswer(ability: NetworkAbility): z.input<typeof abilitySchema> {
  return ability.kind === 'kernel' ? { kind: ability.kind, version: ability.version } : ability
}

export const wireGuardSchema = z.object({
  by: z.enum(['kernel', 'wireguard-go', 'none']).describe('What WireGuard is on this node.'),
  why: z.string().optional().describe('Why there is none, and what to do about it.'),
})

export function wireGuardAnswer(wireGuard: WireGuardAbility): z.input<typeof wireGuardSchema> {
  return { by: wireGuard.kind, ...(wireGuard.kind === 'none' && { why: wireGuard.why }) }
}
