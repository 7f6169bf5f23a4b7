import type { NodeId } from '@moot/crdt-state'
import pLimit from 'p-limit'
import type { LivenessMap } from './core/membership/liveness.ts'
import type { Defaults } from './defaults.ts'
import type { Mesh, ProbeResult } from './ports/mesh.ts'

/** A host that is busy for a moment delays one answer. */
const triesMax = 3

/**
 * What becomes of a question to the agent of each other member, asked now; of those that answer, the quickest of three. The detector knows
 * only of those that it watches, and not of one that asks it first. Whoever is down is not asked, as many of them would take seconds. Rejects
 * only with the signal's reason.
 */
export async function roundTrips(
  mesh: Pick<Mesh, 'self' | 'probe'>,
  liveness: LivenessMap,
  { probeConcurrency, probeTimeoutMaxMs }: Pick<Defaults, 'probeConcurrency' | 'probeTimeoutMaxMs'>,
  signal: AbortSignal,
): Promise<ReadonlyMap<NodeId, ProbeResult>> {
  const limit = pLimit(probeConcurrency)
  const others = [...liveness].filter(([node, { kind }]) => node !== mesh.self && kind !== 'down')
  const ask = (node: NodeId): Promise<ProbeResult> => {
    signal.throwIfAborted()
    return mesh.probe(node, probeTimeoutMaxMs)
  }
  const results = others.map(([node]) => limit(async () => [node, await quickest(() => ask(node))] as const))
  return new Map(await Promise.all(results))
}

async function quickest(ask: () => Promise<ProbeResult>): Promise<ProbeResult> {
  let best = await ask()
  for (let tries = 1; tries < triesMax && best.kind === 'answered'; tries += 1) {
    const next = await ask()
    if (next.kind === 'answered' && next.roundTripMs < best.roundTripMs) best = next
  }
  return best
}
