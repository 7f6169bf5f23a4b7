import type { NodeState } from '../node-state.ts'
import type { Workload } from '../workload.ts'
import { onNodes, type Filter } from './filter.ts'

export const pluginsFilter: Filter = {
  name: 'plugins',
  concerns: ({ plugins }) => plugins.length > 0,
  passes: (node, { workload }) => missing(node, workload) === undefined,
  explain: (node, { workload }) => {
    const plugin = missing(node, workload)
    return plugin === undefined
      ? 'has the plugins'
      : `has no ${plugin.type.toLowerCase()} plugin ${plugin.name}`
  },
  summary: (nodes) => `missing plugin ${onNodes(nodes)}`,
}

function missing({ node }: NodeState, { plugins }: Workload): Workload['plugins'][number] | undefined {
  const installed = node.record?.status?.plugins ?? []
  return plugins.find(
    (wanted) =>
      !installed.some(
        ({ type, name }) =>
          type.toLowerCase() === wanted.type.toLowerCase() && untagged(name) === untagged(wanted.name),
      ),
  )
}

/** Docker shows an installed plugin as `name:latest`, and people leave the tag out. */
function untagged(name: string): string {
  return name.endsWith(':latest') ? name.slice(0, -':latest'.length) : name
}
