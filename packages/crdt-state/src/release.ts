import type { ServiceSpec } from './schema/service.ts'

/** Set by clients that deploy stacks (docker/cli `cli/compose/convert/compose.go` `LabelNamespace`). */
export const stackLabel = 'com.docker.stack.namespace'
/** The release that changed a service last: all that it changed goes back together. Restarts nothing: no task has it. */
export const releaseLabel = 'moot.release'

export function stackOf({ Labels }: ServiceSpec): string | undefined {
  return Labels[stackLabel]
}

export function releaseOf({ Labels }: ServiceSpec): string | undefined {
  return Labels[releaseLabel]
}

/**
 * `7-k3f9qa`: the seventh release of its stack. The number is one more than all that its author knew of, so it orders
 * releases without a clock; two sides of a partition may both have a seventh, which the rest tells apart.
 */
export function releaseId(number: number, distinction: string): string {
  return `${number}-${distinction}`
}

/** 0: no release of ours. */
export function releaseNumber(id: string | undefined): number {
  return Number(/^(\d{1,9})-/.exec(id ?? '')?.[1] ?? 0)
}
