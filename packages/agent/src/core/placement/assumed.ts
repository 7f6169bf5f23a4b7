import { taskStates, type ServiceId, type SlotId, type TaskEntry } from '@moot/crdt-state'

/** A slot that a placement took for filled, at this attempt. */
export interface Assumption {
  readonly slot: number
  readonly attempt: number
}

/**
 * Rule 4: a claim of a service with spread preferences lists the earlier slots of its service that its placement
 * assumed filled and that others may still see vacant. They are mostly neighbours (a new service's slot 900 assumes 1
 * to 899), so a run of them is one entry, `<service>.1-899@1`: else 1,000 replicas would take 15 MB of records. The
 * attempt stands with it because a list outlives its purpose: the slot's next vacancy, years later, is another
 * attempt, which nobody assumed filled.
 */
export function assumedRuns(service: ServiceId, ascending: readonly Assumption[]): readonly SlotId[] {
  const runs: SlotId[] = []
  for (let start = 0; start < ascending.length;) {
    const first = ascending[start]
    let last = first
    let next = start + 1
    for (; next < ascending.length; next += 1) {
      const candidate = ascending[next]
      if (candidate?.slot !== (last?.slot ?? 0) + 1 || candidate.attempt !== first?.attempt) break
      last = candidate
    }
    const range = first?.slot === last?.slot ? `${first?.slot}` : `${first?.slot}-${last?.slot}`
    runs.push(`${service}.${range}@${first?.attempt}` as SlotId)
    start = next
  }
  return runs
}

const runPattern = /\.(\d{1,15})(?:-(\d{1,15}))?(?:@(\d{1,15}))?$/

/** Did the placement of a claim with this list assume this vacancy filled? A plain SlotId stands for any attempt. */
export function assumes(assumed: readonly SlotId[] | undefined, { slot, attempt }: Assumption): boolean {
  if (assumed === undefined) return false
  return assumed.some((entry) => {
    const match = runPattern.exec(entry)
    if (match === null) return false
    const first = Number(match[1])
    const last = match[2] === undefined ? first : Number(match[2])
    return first <= slot && slot <= last && (match[3] === undefined || Number(match[3]) === attempt)
  })
}

const running = taskStates.indexOf('running')

/** So young that a node with an older view may still see its slot vacant. */
export function isYoung(task: TaskEntry): boolean {
  return taskStates.indexOf(task.state) < running
}
