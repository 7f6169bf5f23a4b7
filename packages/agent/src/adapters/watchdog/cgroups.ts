import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cgroups } from '../../watchdog/cgroups.ts'

/** @param root where the cgroups are mounted: one tree (v2), or one for each controller (v1). */
export function systemCgroups(root: string): Cgroups {
  if (existsSync(join(root, 'cgroup.controllers'))) return unifiedCgroups(root)
  if (existsSync(join(root, 'pids', 'cgroup.procs'))) return controllerCgroups(root)
  throw new Error(
    `No cgroups that can be watched are mounted at ${root}: neither cgroup v2, nor v1's "pids".`,
  )
}

/** Version 2. */
function unifiedCgroups(root: string): Cgroups {
  const limit = (cgroup: string, value: '0' | 'max'): void => {
    // Without a new cgroup no container can start, whatever systemd makes of its slice's pids.max.
    writeFileSync(join(root, cgroup, 'cgroup.max.descendants'), value)
    const pids = join(root, cgroup, 'pids.max')
    if (existsSync(pids)) writeFileSync(pids, value)
  }
  return {
    open(cgroup) {
      refuseOwn(cgroup)
      make(cgroup)
      limit(cgroup, 'max')
    },
    block(cgroup) {
      make(cgroup)
      limit(cgroup, '0')
      // What was left empty could still be joined.
      for (const path of treeBelow(join(root, cgroup)).slice(1).toReversed()) removeIfEmpty(path)
    },
    kill(cgroup) {
      const all = join(root, cgroup, 'cgroup.kill')
      // Since Linux 5.14; against it nothing can fork.
      if (existsSync(all)) writeFileSync(all, '1')
      else killEach(join(root, cgroup))
    },
    isOccupied(cgroup) {
      return readIfThere(join(root, cgroup, 'cgroup.events')).includes('populated 1')
    },
    remove(cgroup) {
      if (!isSlice(cgroup)) removeTree(join(root, cgroup))
    },
  }

  function make(cgroup: string): void {
    let path = root
    for (const name of cgroup.slice(1).split('/')) {
      try {
        writeFileSync(join(path, 'cgroup.subtree_control'), '+pids')
      } catch {
        // Where pids is no controller of this tree, or its parent's are not ours to give: there is the other limit.
      }
      path = join(path, name)
      if (!existsSync(path)) mkdirSync(path)
    }
  }
}

/** Version 1: a container is in all hierarchies, at the same path. */
function controllerCgroups(root: string): Cgroups {
  const pidsOf = (cgroup: string): string => join(root, 'pids', cgroup)
  return {
    open(cgroup) {
      refuseOwn(cgroup)
      mkdirSync(pidsOf(cgroup), { recursive: true })
      writeFileSync(join(pidsOf(cgroup), 'pids.max'), 'max')
    },
    block(cgroup) {
      mkdirSync(pidsOf(cgroup), { recursive: true })
      writeFileSync(join(pidsOf(cgroup), 'pids.max'), '0')
    },
    kill(cgroup) {
      killEach(pidsOf(cgroup))
      // What is frozen (a paused container) dies only when it is thawed.
      for (const path of treeBelow(join(root, 'freezer', cgroup))) {
        if (!readIfThere(join(path, 'freezer.state')).startsWith('THAWED'))
          writeFileSync(join(path, 'freezer.state'), 'THAWED')
      }
    },
    isOccupied(cgroup) {
      return treeBelow(pidsOf(cgroup)).some((path) => readIfThere(join(path, 'cgroup.procs')) !== '')
    },
    remove(cgroup) {
      if (isSlice(cgroup)) return
      for (const entry of readdirSync(root, { withFileTypes: true })) {
        if (entry.isDirectory()) removeTree(join(root, entry.name, cgroup))
      }
    },
  }
}

function killEach(directory: string): void {
  for (const path of treeBelow(directory)) {
    for (const line of readIfThere(join(path, 'cgroup.procs')).split('\n')) {
      const pid = Number(line)
      // 0: a process of another namespace, which cannot be named here; to kill(2) it would be our own group.
      if (!(pid > 1)) continue
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended.
      }
    }
  }
}

/** A mistake in a path must not end the watchdog or whoever it is near to. */
function refuseOwn(cgroup: string): void {
  const own = readFileSync('/proc/self/cgroup', 'utf8')
    .split('\n')
    .map((line) => line.split(':').slice(2).join(':'))
  if (own.some((path) => `${path}/`.startsWith(`${cgroup}/`)))
    throw new Error(`${cgroup} is a cgroup of the watchdog itself`)
}

/** systemd removes its own. */
function isSlice(cgroup: string): boolean {
  return cgroup.endsWith('.slice')
}

/** Itself and all below it, parents first; none if it is not there. */
function treeBelow(directory: string): string[] {
  try {
    const below = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory())
    return [directory, ...below.flatMap(({ name }) => treeBelow(join(directory, name)))]
  } catch (error) {
    if (isGone(error)) return []
    throw error
  }
}

function removeTree(directory: string): void {
  for (const path of treeBelow(directory).toReversed()) removeIfEmpty(path)
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory)
  } catch {
    // In use by the engine, or removed by it.
  }
}

/** Empty where there is no such file (any more). */
function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (isGone(error)) return ''
    throw error
  }
}

function isGone(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  // ENODEV: removed while it was open.
  return code === 'ENOENT' || code === 'ENODEV'
}
