import type { NodeFilter } from './filter.ts'
import { notAvailable } from './liveness.ts'

export const availabilityFilter: NodeFilter = {
  name: 'availability',
  passes: ({ node }) => node.settings.spec.Availability === 'active',
  explain: ({ node }) =>
    node.settings.spec.Availability === 'drain' ? 'is drained' : 'is paused: it takes no new tasks',
  summary: notAvailable,
}

/** A paused node keeps what it has; a drained one does not. */
export const drainFilter: NodeFilter = {
  ...availabilityFilter,
  passes: ({ node }) => node.settings.spec.Availability !== 'drain',
}
