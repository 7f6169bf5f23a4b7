import { existsSync } from 'node:fs'
import { directoryNames, gateway, hostPlace, type HostPlace, type Place } from './place.ts'
import { attempt, run, waitUntil } from './shell.ts'

/**
 * The bed's network: a switch in a namespace of its own (in the machine's, Docker's FORWARD policy would drop what it
 * forwards), and a cable from each host to it. A partition is several switches that nothing connects. Every switch has
 * the gateway's address, so that a side of a partition still has its gateway, and a host with a pulled cable has none.
 */

const bridge = 'br0'
/** All switches look the same, so that a cable moved to another needs no new ARP entry. */
const switchMac = '02:4d:4f:4f:54:fe'

export type Cable =
  { readonly kind: 'none' } | { readonly kind: 'plugged' | 'cut'; readonly switchNumber: number }

function switchName(bed: Place, number: number): string {
  return `${bed.name}-sw${number}`
}

/** Whoever is in here is no host, and sees all that are on that switch: a client of the cluster, at the gateway's address. */
export function switchNamespacePath(bed: Place, number: number): string {
  return `/run/netns/${switchName(bed, number)}`
}

function switchNumbers(bed: Place): number[] {
  const prefix = `${bed.name}-sw`
  return directoryNames('/run/netns')
    .filter((name) => name.startsWith(prefix))
    .map((name) => Number(name.slice(prefix.length)))
    .sort((a, b) => a - b)
}

async function ip(...args: string[]): Promise<string> {
  return run('ip', args)
}

export async function ensureSwitch(bed: Place, number: number): Promise<void> {
  const name = switchName(bed, number)
  if (existsSync(switchNamespacePath(bed, number))) {
    // Half-made by an interrupted run: make it again.
    const addresses = await attempt('ip', ['-n', name, '-o', 'addr', 'show', 'dev', bridge])
    if (addresses?.includes(gateway) === true) return
    await ip('netns', 'del', name)
  }
  await ip('netns', 'add', name)
  await ip('-n', name, 'link', 'set', 'lo', 'up')
  await ip('-n', name, 'link', 'add', bridge, 'address', switchMac, 'type', 'bridge')
  await ip('-n', name, 'link', 'set', bridge, 'up')
  await ip('-n', name, 'addr', 'add', `${gateway}/24`, 'dev', bridge)
}

export async function removeNetwork(bed: Place): Promise<void> {
  const prefix = `${bed.name}-`
  for (const name of directoryNames('/run/netns').filter((name) => name.startsWith(prefix))) {
    await attempt('ip', ['netns', 'del', name])
  }
}

export async function cableOf(bed: Place, host: HostPlace): Promise<Cable> {
  for (const switchNumber of switchNumbers(bed)) {
    const link = await attempt('ip', ['-n', switchName(bed, switchNumber), '-o', 'link', 'show', host.port])
    if (link !== undefined) {
      return { kind: /<[^>]*\bUP\b[^>]*>/.test(link) ? 'plugged' : 'cut', switchNumber }
    }
  }
  return { kind: 'none' }
}

/** The host's namespace with a cable to the first switch. Where it exists, it is left as it is, cut or not. */
export async function ensureHostNetwork(bed: Place, host: HostPlace): Promise<void> {
  await ensureSwitch(bed, 1)
  const namespace = host.networkNamespace
  if (existsSync(host.networkNamespacePath)) {
    const routes = await attempt('ip', ['-n', namespace, 'route', 'show', 'default'])
    const complete = routes?.includes(gateway) === true
    if (complete && (await cableOf(bed, host)).kind !== 'none') return
    await attempt('ip', ['netns', 'del', namespace])
  }
  await ip('netns', 'add', namespace)
  await ip('-n', namespace, 'link', 'set', 'lo', 'up')
  const cable = ['type', 'veth', 'peer', 'name', host.port, 'netns', switchName(bed, 1)]
  await ip('link', 'add', 'eth0', 'netns', namespace, ...cable)
  await ip('-n', namespace, 'addr', 'add', `${host.address}/24`, 'dev', 'eth0')
  await ip('-n', namespace, 'link', 'set', 'eth0', 'up')
  await ip('-n', namespace, 'route', 'add', 'default', 'via', gateway)
  await ip('-n', switchName(bed, 1), 'link', 'set', host.port, 'master', bridge, 'up')
}

export async function cut(bed: Place, host: HostPlace): Promise<void> {
  const cable = await cableOf(bed, host)
  if (cable.kind === 'none') return
  await ip('-n', switchName(bed, cable.switchNumber), 'link', 'set', host.port, 'down')
}

/** Plugs the host's cable into that switch, whatever was before. */
export async function plug(bed: Place, host: HostPlace, switchNumber: number): Promise<void> {
  await moveCable(bed, host, switchNumber)
  await ip('-n', switchName(bed, switchNumber), 'link', 'set', host.port, 'master', bridge, 'up')
  await linkIsUp(bed, host, switchNumber)
}

/** To another switch, where it is down until somebody raises it: a host that is off must not answer for a moment. */
async function moveCable(bed: Place, host: HostPlace, switchNumber: number): Promise<void> {
  await ensureSwitch(bed, switchNumber)
  const cable = await cableOf(bed, host)
  if (cable.kind === 'none') {
    throw new Error(`${host.name} has no cable. Start it: scripts/hosts start ${host.index}`)
  }
  if (cable.switchNumber === switchNumber) return
  const from = switchName(bed, cable.switchNumber)
  await ip('-n', from, 'link', 'set', host.port, 'netns', switchName(bed, switchNumber))
}

/** The kernel tells of a new carrier at most once a second; until then both ends drop what they are given. */
async function linkIsUp(bed: Place, host: HostPlace, switchNumber: number): Promise<void> {
  await waitUntil(
    `the link of ${host.name} is up at both ends`,
    async () => {
      const near = await ip('-n', host.networkNamespace, '-o', 'link', 'show', 'eth0')
      const far = await ip('-n', switchName(bed, switchNumber), '-o', '-d', 'link', 'show', host.port)
      return near.includes(' state UP ') && far.includes(' state forwarding ')
    },
    { timeoutMs: 10_000, intervalMs: 20 },
  )
}

/** Each group on a switch of its own. A host that was powered off or cut stays so: its cable only moves. */
export async function partition(bed: Place, groups: readonly (readonly number[])[]): Promise<void> {
  const seen = new Set<number>()
  for (const index of groups.flat()) {
    if (seen.has(index)) throw new Error(`Host ${index} is in two groups; each may be in one.`)
    seen.add(index)
  }
  const moves = groups.flatMap((group, position) => group.map((index) => ({ index, to: position + 1 })))
  for (const { to } of moves) await ensureSwitch(bed, to)
  // Whoever moves away first leaves a moment in which it is alone, rather than one in which old and new sides mix.
  await Promise.all(
    moves.map(async ({ index, to }) => {
      const host = hostPlace(bed, index)
      const cable = await cableOf(bed, host)
      if (cable.kind === 'none') throw new Error(`There is no host ${index}.`)
      if (cable.switchNumber === to) return
      await (cable.kind === 'cut' ? moveCable(bed, host, to) : plug(bed, host, to))
    }),
  )
}
