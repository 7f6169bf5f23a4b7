import type { NodeFilter } from './filter.ts'

/** Nothing new goes to a node of which someone says that it is gone; what it holds is another question. */
export const livenessFilter: NodeFilter = {
  name: 'liveness',
  passes: ({ node }) => node.liveness.kind === 'alive',
  explain: ({ node: { liveness } }) => {
    switch (liveness.kind) {
      case 'alive':
        return 'is alive'
      case 'suspect':
        return `may be down: ${observers(liveness.observers.length)} cannot reach it`
      case 'agent-down':
        return `its agent does not answer (${observers(liveness.observers.length)})`
      case 'down':
        return 'is down'
      case 'unknown':
        return 'has joined but was not heard of yet'
    }
  },
  summary: notAvailable,
}

function observers(count: number): string {
  return count === 1 ? '1 observer' : `${count} observers`
}

export function notAvailable(nodes: number): string {
  return nodes === 1 ? '1 node not available for new tasks' : `${nodes} nodes not available for new tasks`
}
