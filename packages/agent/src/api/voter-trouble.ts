import type { Cluster } from '../cluster.ts'
import { leasedServices } from '../core/lease/partition-label.ts'

/** What people have to know about the voters, where something is exclusive; else nobody waits for them. */
export function voterTrouble(cluster: Cluster): string | undefined {
  if (cluster.state().kind !== 'active' || leasedServices(cluster.view().services).size === 0)
    return undefined
  const { health } = cluster.voters()
  return health.kind === 'well' ? undefined : health.message
}
