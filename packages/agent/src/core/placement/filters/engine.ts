import type { NodeFilter } from './filter.ts'
import { notAvailable } from './liveness.ts'

export const engineFilter: NodeFilter = {
  name: 'engine',
  passes: ({ node }) => node.record?.status?.engine.state === 'up',
  explain: ({ node }) => {
    const engine = node.record?.status?.engine
    if (engine === undefined) return 'has not described itself yet'
    return engine.state === 'down' ? `its Docker engine is down: ${engine.error}` : 'its engine is up'
  },
  summary: notAvailable,
}
