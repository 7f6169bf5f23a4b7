import { platformMatches } from '../platform.ts'
import { onNodes, type Filter } from './filter.ts'

export const platformFilter: Filter = {
  name: 'platform',
  concerns: ({ platforms }) => platforms.length > 0,
  passes: ({ node }, { workload: { platforms } }) => {
    if (platforms.length === 0) return true
    const platform = node.record?.status?.platform
    return platform !== undefined && platforms.some((wanted) => platformMatches(platform, wanted))
  },
  explain: ({ node }, { workload }) => {
    const platform = node.record?.status?.platform
    const wanted = workload.platforms.map(({ OS, Architecture }) => `${OS || 'any'}/${Architecture || 'any'}`)
    return `runs ${platform?.os ?? 'unknown'}/${platform?.architecture ?? 'unknown'}, needs ${wanted.join(' or ')}`
  },
  summary: (nodes) => `unsupported platform ${onNodes(nodes)}`,
}
