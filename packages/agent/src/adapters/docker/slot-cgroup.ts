import { createHash } from 'node:crypto'

export type CgroupDriver = 'cgroupfs' | 'systemd'

/** Whose slot it is. The node too: nodes in containers, and test hosts, share one kernel and one tree of cgroups. */
export interface SlotPlace {
  readonly cluster: string
  readonly node: string
  /** As it is leased: `<service name>.<slot>`. */
  readonly slot: string
}

export interface SlotCgroup {
  /** For Docker's `HostConfig.CgroupParent`. */
  readonly parent: string
  /** For the watchdog: from the root of the cgroup tree, or of each of v1's. */
  readonly path: string
}

/**
 * The cgroup that all containers of an exclusive slot are below, and nothing else. With systemd's driver a parent is a slice,
 * whose dashes are levels: `moot-x.slice` lies in `moot.slice`. Readable, and told apart by a hash.
 */
export function slotCgroup(place: SlotPlace, driver: CgroupDriver, base = '/moot'): SlotCgroup {
  const hash = createHash('sha256').update([place.cluster, place.node, place.slot].join('\n')).digest('hex')
  const name = `${place.slot.replaceAll(/[^A-Za-z0-9_.]/g, '_').slice(0, 64)}_${hash.slice(0, 16)}`
  switch (driver) {
    case 'cgroupfs': {
      const path = `${base}/exclusive/${name}`
      return { parent: path, path }
    }
    case 'systemd': {
      const parent = `moot-${name}.slice`
      return { parent, path: `/moot.slice/${parent}` }
    }
  }
}
