import type { RoundKey } from '@moot/crdt-state'
import type { Plane } from '../../core/network/plane.ts'
import { type Lane, laneOf } from '../../core/network/seals.ts'
import { KernelRefusedError } from '../../ports/data-plane.errors.ts'
import type { KernelCalls } from './calls.ts'
import { isInterface, setWireGuardDevice } from './interface-settings.ts'
import type { KernelSettings, LaneSettings } from './settings.ts'
import { mtuOfLinkWith, placeholder, wireGuardMtu } from './tunnel-device.ts'
import { lanePeerChanges, lanePeers, readLanePeers } from './wire-guard-peers.ts'
import { startWireGuardGo } from './wire-guard-go.ts'

const lanes = [0, 1] as const satisfies Lane[]

/** All of a plane that WireGuard has to know, to be compared. */
export function wireGuardText({ self, peers }: Plane): string {
  const known = peers.map(({ underlay, seal }) => [underlay, seal?.keys])
  return JSON.stringify(self.keys === undefined ? [] : [self.keys, known])
}

export function isLaneMissing({ keys = [] }: Plane['self'], settings: KernelSettings): boolean {
  return keys.some(({ round }) => !isInterface(settings.lanes[laneOf(round)].device))
}

export interface WireGuardMade {
  /** An interface was made anew: what led through its former self leads nowhere. */
  readonly isNew: boolean
  /** Takes away what is not wanted any more, once nothing is sent there. */
  readonly removeRest: () => Promise<void>
}

/** Makes this node's ends of WireGuard so, and what was there before is left for the moment. */
export async function ensureWireGuard(
  calls: KernelCalls,
  plane: Plane,
  settings: KernelSettings,
): Promise<WireGuardMade> {
  const { keys = [], underlay } = plane.self
  const mtu = keys.length === 0 ? 0 : wireGuardMtu(await mtuOfLinkWith(calls, underlay))
  const rest: (() => Promise<unknown>)[] = []
  let isNew = false
  for (const lane of lanes) {
    const key = keys.find(({ round }) => laneOf(round) === lane)
    const at = settings.lanes[lane]
    if (key === undefined) {
      rest.push(() => removeLane(calls, at))
      continue
    }
    if (await ensureLane(calls, at, mtu)) isNew = true
    await ensureKey(calls, at, key, settings)
    const listed = await show(calls, at, 'allowed-ips')
    const { come, gone } = lanePeerChanges(readLanePeers(listed), lanePeers(plane, lane), at.port)
    await set(calls, at, come)
    rest.push(() => set(calls, at, gone))
  }
  return {
    isNew,
    async removeRest() {
      for (const remove of rest) await remove()
    },
  }
}

export async function removeWireGuard(calls: KernelCalls, settings: KernelSettings): Promise<void> {
  for (const lane of settings.lanes) await removeLane(calls, lane)
}

/** Where it is a process (wireguard-go), that ends with its interface. */
async function removeLane(calls: KernelCalls, { device }: LaneSettings): Promise<void> {
  if (isInterface(device)) await calls.run('ip', ['link', 'del', device], `remove the interface ${device}`)
}

async function ensureLane(calls: KernelCalls, lane: LaneSettings, mtu: number): Promise<boolean> {
  const { device } = lane
  const isThere = isInterface(device) && (await answers(calls, lane))
  if (!isThere) {
    await removeLane(calls, lane)
    await makeWireGuardDevice(calls, device)
  }
  const [found] = await calls.list('ip', ['addr', 'show', 'dev', device], `look at ${device}`)
  const { addr_info: addresses, flags, mtu: hasMtu } = (found ?? {}) as WireGuardLink
  const [address] = placeholder.split('/')
  const lines: string[] = []
  if (addresses?.some(({ local }) => local === address) !== true) {
    lines.push(`addr add ${placeholder} dev ${device} scope link`)
  }
  if (hasMtu !== mtu) lines.push(`link set ${device} mtu ${mtu}`)
  if (flags?.includes('UP') !== true) lines.push(`link set ${device} up`)
  await calls.batch('ip', lines, `make the interface ${device}`)
  setWireGuardDevice(device)
  return !isThere
}

interface WireGuardLink {
  readonly mtu?: number
  readonly flags?: readonly string[]
  readonly addr_info?: readonly { readonly local?: string }[]
}

export async function makeWireGuardDevice(calls: KernelCalls, device: string): Promise<void> {
  try {
    await calls.run('ip', ['link', 'add', device, 'type', 'wireguard'], `make the interface ${device}`)
  } catch (error) {
    // The kernel has none.
    if (!(error instanceof KernelRefusedError)) throw error
    await startWireGuardGo(device)
  }
}

/** Whoever stands behind an interface may be gone: a process that hangs, or another kind of interface by this name. */
async function answers(calls: KernelCalls, lane: LaneSettings): Promise<boolean> {
  try {
    await show(calls, lane, 'public-key')
    return true
  } catch (error) {
    if (error instanceof KernelRefusedError) return false
    throw error
  }
}

async function ensureKey(
  calls: KernelCalls,
  lane: LaneSettings,
  { round, key }: RoundKey,
  settings: KernelSettings,
): Promise<void> {
  const [hasKey, hasPort] = [await show(calls, lane, 'public-key'), await show(calls, lane, 'listen-port')]
  await set(calls, lane, [
    ...(hasPort.trim() === String(lane.port) ? [] : ['listen-port', String(lane.port)]),
    ...(hasKey.trim() === key ? [] : ['private-key', settings.keyFile(round)]),
  ])
}

function show(
  calls: KernelCalls,
  { device }: LaneSettings,
  // Not `dump`: it tells the private key.
  what: 'public-key' | 'listen-port' | 'allowed-ips',
): Promise<string> {
  return calls.run('wg', ['show', device, what], `show the ${what} of ${device}`)
}

async function set(calls: KernelCalls, { device }: LaneSettings, args: readonly string[]): Promise<void> {
  if (args.length > 0) await calls.run('wg', ['set', device, ...args], `set up ${device}`)
}
