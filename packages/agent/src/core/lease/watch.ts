import type { SlotKey } from './messages.ts'

/** What the agent asks of the watchdog: whatever runs below `cgroup` is to be gone at `deadlineMs` of CLOCK_BOOTTIME. */
export interface Arm {
  readonly slot: SlotKey
  readonly fence: number
  /** The parent of the slot's containers, from the root of the cgroup tree: `/moot/exclusive/…`. */
  readonly cgroup: string
  readonly deadlineMs: number
}

export type Watched =
  | (Arm & { readonly kind: 'armed' })
  /** Its deadline has passed: nothing may start there any more. `goneAtMs`: when no process was left. */
  | (Arm & {
      readonly kind: 'over'
      readonly killedAtMs: number
      readonly goneAtMs: number | undefined
    })

export type ArmAnswer =
  /** In force, until `deadlineMs`: the latest that was ever asked for with this fence. */
  | { readonly kind: 'armed'; readonly deadlineMs: number }
  /** The deadline of this fence has passed and its processes are killed: only a higher fence can be armed. */
  | { readonly kind: 'over' }
  /** A higher fence is known. */
  | { readonly kind: 'older'; readonly fence: number }
  /** A new fence needs a new container, and something still runs in the slot's cgroup. */
  | { readonly kind: 'occupied' }
  | { readonly kind: 'refused'; readonly why: string }

export type DisarmAnswer =
  | { readonly kind: 'disarmed' }
  | { readonly kind: 'older'; readonly fence: number }
  /** Something still runs: it is watched on. */
  | { readonly kind: 'occupied' }

export type ArmVerdict =
  | Exclude<ArmAnswer, { kind: 'armed' }>
  | { readonly kind: 'extend'; readonly watched: Watched }
  /** The cgroup is to be opened for a new container, if nothing runs in it. */
  | { readonly kind: 'begin'; readonly watched: Watched }

export function judgeArm(
  all: ReadonlyMap<SlotKey, Watched>,
  { slot, fence, cgroup, deadlineMs }: Arm,
  nowMs: number,
  slotsMax: number,
): ArmVerdict {
  const known = all.get(slot)
  if (known !== undefined && known.fence > fence) return { kind: 'older', fence: known.fence }
  if (known?.fence === fence) {
    if (known.cgroup !== cgroup)
      return { kind: 'refused', why: `fence ${fence} of ${slot} is armed for ${known.cgroup}` }
    if (known.kind === 'over' || known.deadlineMs <= nowMs) return { kind: 'over' }
    return {
      kind: 'extend',
      watched: { ...known, deadlineMs: Math.max(known.deadlineMs, deadlineMs) },
    }
  }
  const other = [...all.values()].find((watched) => watched.slot !== slot && overlap(watched.cgroup, cgroup))
  if (other !== undefined)
    return { kind: 'refused', why: `${cgroup} would be killed with ${other.cgroup} of ${other.slot}` }
  if (known === undefined && all.size >= slotsMax)
    return { kind: 'refused', why: `${slotsMax} slots are watched already, and more are not` }
  if (deadlineMs <= nowMs) return { kind: 'over' }
  return { kind: 'begin', watched: { kind: 'armed', slot, fence, cgroup, deadlineMs } }
}

/** One is, or lies below, the other. */
function overlap(first: string, second: string): boolean {
  return `${first}/`.startsWith(`${second}/`) || `${second}/`.startsWith(`${first}/`)
}

/** Whose deadline has passed, and whom nobody has killed yet. */
export function isDue(watched: Watched, nowMs: number): boolean {
  return watched.kind === 'armed' && watched.deadlineMs <= nowMs
}
