import { volumeMoveLabel } from '../workload.ts'
import { onNodes, type Filter } from './filter.ts'

export const volumesFilter: Filter = {
  name: 'volumes',
  concerns: ({ volumes }) => volumes.length > 0,
  passes: (node, { tie }) => tie === undefined || tie.nodes.has(node.id),
  explain: (_node, { tie }) => {
    const { volumes = [] } = tie ?? {}
    const one = volumes.length === 1
    const places = [...(tie?.nodes.values() ?? [])].map((home) => home.label + standing(home)).sort()
    return (
      `${one ? 'volume' : 'volumes'} ${volumes.join(', ')} ${one ? 'is' : 'are'} on ${places.join(', ')}; ` +
      `the label ${volumeMoveLabel}=true lets the service start elsewhere, without that data`
    )
  },
  summary: (nodes) => `the volume is elsewhere ${onNodes(nodes)}`,
}

function standing(home: { readonly isDown: boolean }): string {
  return home.isDown ? ' (which is down)' : ''
}
