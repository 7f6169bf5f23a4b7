import { onNodes, type Filter } from './filter.ts'

export const hostPortsFilter: Filter = {
  name: 'host-ports',
  concerns: ({ demand }) => demand.hostPorts.length > 0,
  passes: ({ load }, { workload }) =>
    workload.demand.hostPorts.every((port) => load.portHolder(port) === undefined),
  explain: ({ load }, { workload }) =>
    workload.demand.hostPorts
      .flatMap((port) => {
        const holder = load.portHolder(port)
        return holder === undefined ? [] : [`port ${port} is taken by ${holder}`]
      })
      .join('; '),
  summary: (nodes) => `host-mode port already in use ${onNodes(nodes)}`,
}
