import { ConstraintSyntaxError, type DescribedNode, type Requirement } from '../constraint.ts'
import { onNodes, type Filter } from './filter.ts'

export const constraintsFilter: Filter = {
  name: 'constraints',
  concerns: ({ constraints }) => constraints.length > 0,
  passes: ({ node }, { workload }) => workload.constraints.every((requirement) => requirement.isMet(node)),
  explain: ({ node }, { workload }) => {
    const failed = workload.constraints.find((requirement) => !requirement.isMet(node))
    return failed === undefined ? 'satisfies the constraints' : explainRequirement(failed, node)
  },
  summary: (nodes) => `scheduling constraints not satisfied ${onNodes(nodes)}`,
}

export function explainRequirement({ constraint, attribute }: Requirement, node: DescribedNode): string {
  if (constraint instanceof ConstraintSyntaxError) return constraint.message
  const { key, operator, value } = constraint
  const actual = attribute(node)
  if (actual === undefined) return `${key} is not known`
  if (operator === '!=') return `${key} is ${actual}, which is excluded`
  return actual === '' ? `${key} is not set, must be ${value}` : `${key} is ${actual}, not ${value}`
}
