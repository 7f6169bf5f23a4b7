import type { TaskSetup } from '../../core/reconcile/actions.ts'
import { TaskRejectedError } from '../../ports/engine.errors.ts'
import type { EngineFacts } from '../../ports/engine.ts'
import type { Ownership } from './labels.ts'
import { type CgroupDriver, slotCgroup } from './slot-cgroup.ts'

const drivers: readonly string[] = ['cgroupfs', 'systemd'] satisfies readonly CgroupDriver[]

/**
 * Of a task that runs under a lease: by which driver its slot's cgroup is made, which the watchdog empties. Asked before its image
 * is had, so that a node where that cannot be never takes the lease.
 */
export function leaseDriver(
  { spec }: TaskSetup,
  { driver, isRootless }: EngineFacts['cgroups'],
): CgroupDriver {
  const refused = (why: string): TaskRejectedError =>
    new TaskRejectedError(`${spec.Name} is exclusive, and its watchdog cannot work here: ${why}`)
  if (isRootless) throw refused("this node's engine is rootless, and its cgroups are not this host's")
  if (!drivers.includes(driver))
    throw refused(`this node's engine has the cgroup driver ${driver}; it has to be cgroupfs or systemd`)
  return driver as CgroupDriver
}

/** What such a container has besides; nothing where the task needs no lease. */
export function leaseParts(
  setup: TaskSetup,
  own: Ownership,
  cgroups: EngineFacts['cgroups'],
): { readonly env: readonly string[]; readonly cgroupParent: string | undefined } {
  const { lease } = setup
  if (lease?.fence === undefined) return { env: [], cgroupParent: undefined }
  const { parent } = slotCgroup({ ...own, slot: lease.slot }, leaseDriver(setup, cgroups))
  return { env: [`MOOT_FENCE=${lease.fence}`], cgroupParent: parent }
}
