import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const repository = resolve(import.meta.dirname, '../..')
export const cacheDirectory = join(repository, '.cache')

/** A unix socket's path may have 107 bytes; a longer one gives EINVAL, which tells nobody anything. */
const socketPathLimitBytes = 100

export class PathTooLong extends Error {
  readonly code = 'PATH_TOO_LONG'
  constructor(path: string) {
    super(
      `${path} is too long for a unix socket (over ${socketPathLimitBytes} bytes). Clone into a shorter path.`,
    )
  }
}

/**
 * Where one bed of hosts lives. Its name is in every namespace and cgroup, so that beds of several clones (or, with
 * MOOT_BED, of several people in one clone) share a machine without meeting.
 */
export interface Place {
  /** Prefix of the network namespaces, and the cgroup under /moot. */
  readonly name: string
  readonly directory: string
}

export function place(bed: string | undefined = process.env['MOOT_BED']): Place {
  if (bed !== undefined && !/^[a-z][a-z0-9]{0,7}$/.test(bed)) {
    throw new Error(
      `MOOT_BED=${bed}: a bed's name has up to 8 small letters and digits, and begins with a letter.`,
    )
  }
  const directory = bed === undefined ? join(repository, '.hosts') : join(repository, '.hosts', bed)
  const name = `moot-${createHash('sha256').update(directory).digest('hex').slice(0, 6)}`
  return { name, directory }
}

/** Everything about one host that follows from its number. */
export interface HostPlace {
  readonly index: number
  readonly name: string
  readonly address: string
  readonly directory: string
  readonly networkNamespace: string
  readonly networkNamespacePath: string
  /** The switch's end of the host's cable. */
  readonly port: string
  readonly cgroup: string
  readonly engineSocket: string
  readonly agentSocket: string
}

export const networkPrefix = '10.99.0'
export const gateway = `${networkPrefix}.254`
/** 1 to 253: one /24, less the switch's own address. */
export const hostCountMax = 253

export function hostPlace(bed: Place, index: number): HostPlace {
  if (!Number.isInteger(index) || index < 1 || index > hostCountMax) {
    throw new Error(`${index} is no host: hosts are numbered 1 to ${hostCountMax}.`)
  }
  const directory = join(bed.directory, String(index))
  const engineSocket = join(directory, 'docker.sock')
  if (Buffer.byteLength(engineSocket) > socketPathLimitBytes) throw new PathTooLong(engineSocket)
  return {
    index,
    name: `node${index}`,
    address: `${networkPrefix}.${index}`,
    directory,
    networkNamespace: `${bed.name}-${index}`,
    networkNamespacePath: `/run/netns/${bed.name}-${index}`,
    port: `p${index}`,
    cgroup: `/moot/${bed.name}/node${index}`,
    engineSocket,
    agentSocket: join(directory, 'moot.sock'),
  }
}

/** The hosts that were ever started here and not torn down, by their directories. */
export function knownHosts(bed: Place): number[] {
  return directoryNames(bed.directory)
    .filter((name) => /^[1-9][0-9]*$/.test(name))
    .map(Number)
    .sort((a, b) => a - b)
}

export function directoryNames(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
