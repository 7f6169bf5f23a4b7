import { existsSync, readFileSync, readdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const root = '/sys/fs/cgroup'

/** One tree on cgroup v2, one per controller on v1. */
function hierarchies(): string[] {
  if (existsSync(join(root, 'cgroup.controllers'))) return [root]
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(root, entry.name))
}

/** Removes a cgroup and those under it, in every hierarchy. What still holds a process is waited for, then named. */
export async function removeCgroup(cgroup: string): Promise<void> {
  const deadlineMs = performance.now() + 5_000
  for (;;) {
    const busy = hierarchies().flatMap((hierarchy) => removeTree(join(hierarchy, cgroup)))
    if (busy.length === 0) return
    if (performance.now() > deadlineMs) {
      const pids = busy.map((path) => `${path} (${processesIn(path).join(' ') || 'no process'})`)
      throw new Error(`These cgroups are still in use: ${pids.join(', ')}`)
    }
    await delay(20)
  }
}

export function removeCgroupIfEmpty(cgroup: string): void {
  for (const hierarchy of hierarchies()) {
    try {
      rmdirSync(join(hierarchy, cgroup))
    } catch {
      // Not there, or still used.
    }
  }
}

/** What agents made for exclusive slots (design/exclusive.md), once no bed stands any more whose it might be. */
export function removeSlotCgroups(): void {
  const trees = hierarchies().map((hierarchy) => join(hierarchy, 'moot'))
  const beds = trees.flatMap((tree) => directoriesIn(tree)).filter((name) => name !== 'exclusive')
  if (beds.length === 0) for (const tree of trees) removeTree(join(tree, 'exclusive'))
}

function directoriesIn(path: string): string[] {
  if (!existsSync(path)) return []
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
}

function removeTree(path: string): string[] {
  if (!existsSync(path)) return []
  const busy = readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => removeTree(join(path, entry.name)))
  try {
    rmdirSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') busy.push(path)
  }
  return busy
}

function processesIn(path: string): string[] {
  try {
    return readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean)
  } catch {
    return []
  }
}
