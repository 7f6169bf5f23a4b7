import { notAvailable } from './liveness.ts'
import type { Filter } from './filter.ts'

/** An island must not run the world: every node has a most. */
export const maxTasksFilter: Filter = {
  name: 'max-tasks',
  passes: ({ node, load }) => load.tasks < (node.record?.status?.capacity.maxTasks ?? 0),
  explain: ({ node, load }) =>
    `has ${load.tasks} tasks, and takes at most ${node.record?.status?.capacity.maxTasks ?? 0}`,
  summary: notAvailable,
}
