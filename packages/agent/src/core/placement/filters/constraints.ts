import { ConstraintSyntaxError, constraintMatches, nodeAttribute } from '../constraint.ts'
import type { Constraint } from '../constraint.ts'
import type { PlacementNode } from '../placement.ts'
import { onNodes, type Filter } from './filter.ts'

export const constraintsFilter: Filter = {
  name: 'constraints',
  concerns: ({ constraints }) => constraints.length > 0,
  passes: ({ node }, { workload }) => workload.constraints.every((constraint) => matches(constraint, node)),
  explain: ({ node }, { workload }) => {
    const failed = workload.constraints.find((constraint) => !matches(constraint, node))
    if (failed === undefined) return 'satisfies the constraints'
    if (failed instanceof ConstraintSyntaxError) return failed.message
    return explainConstraint(failed, nodeAttribute(node, failed.key))
  },
  summary: (nodes) => `scheduling constraints not satisfied ${onNodes(nodes)}`,
}

function matches(constraint: Constraint | ConstraintSyntaxError, node: PlacementNode): boolean {
  return !(constraint instanceof ConstraintSyntaxError) && constraintMatches(constraint, node)
}

function explainConstraint({ key, operator, value }: Constraint, actual: string | undefined): string {
  if (actual === undefined) return `${key} is not known`
  if (operator === '!=') return `${key} is ${actual}, which is excluded`
  return actual === '' ? `${key} is not set, must be ${value}` : `${key} is ${actual}, not ${value}`
}
