import { readFile } from 'node:fs/promises'
import type { WitnessWord } from '../core/membership/island.ts'
import type { Defaults } from '../defaults.ts'
import type { Clock } from '../ports/clock.ts'
import type { Witness } from '../ports/witness.ts'
import { knockAny } from './libp2p/knock.ts'

/** Where routers and cloud gateways usually listen, or refuse. */
const gatewayPorts = [53, 80, 443, 22, 179] as const

export interface Gateway {
  readonly address: string
  readonly networkInterface: string
}

export interface GatewayWitnessOptions {
  readonly clock: Clock
  readonly settings: Defaults
  /** Files of the kernel, for tests. Default: this host's. */
  readonly read?: (path: string) => Promise<string>
  /** Asks the host there for any sign of life. Default: TCP. */
  readonly knock?: (address: string, timeoutMs: number) => Promise<boolean>
}

/**
 * The default gateway as the witness. A refused connection is an answer, and so is an accepted one; nobody listens there
 * for us. A cable without carrier needs no question.
 */
export function gatewayWitness({
  clock,
  settings,
  read = (path) => readFile(path, 'utf8'),
  knock = knockAtGateway,
}: GatewayWitnessOptions): Witness {
  /** The last gateway that ever answered: its silence means something. */
  let known: Gateway | undefined
  let cancel: () => void = () => undefined

  async function ask(timeoutMs: number): Promise<WitnessWord> {
    // A route may go with its carrier: then it is the last one that is asked.
    const gateway = (await defaultGateway(read)) ?? known
    if (gateway === undefined) return 'unknown'
    if (!(await hasCarrier(gateway, read))) return 'silent'
    if (await knock(gateway.address, timeoutMs)) {
      known = gateway
      return 'answered'
    }
    return known?.address === gateway.address ? 'silent' : 'unknown'
  }

  function learn(): void {
    // It never rejects: what cannot be read says nothing.
    void ask(settings.witnessTimeoutMs)
    cancel = clock.after(settings.witnessLearnIntervalMs, learn)
  }

  return { start: learn, stop: () => cancel(), ask }
}

async function knockAtGateway(address: string, timeoutMs: number): Promise<boolean> {
  const doors = gatewayPorts.map((port) => ({ host: address, port }))
  return (await knockAny(doors, AbortSignal.timeout(timeoutMs))) !== 'silent'
}

/** The IPv4 default route with the least metric, as the kernel tells it (proc(5), `/proc/net/route`). */
export async function defaultGateway(read: (path: string) => Promise<string>): Promise<Gateway | undefined> {
  const table = await read('/proc/net/route').catch(() => '')
  const routes = table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, destination, gateway]) => destination === '00000000' && gateway !== '00000000')
    .toSorted((a, b) => Number(a[6]) - Number(b[6]))
  const [networkInterface, , gateway] = routes[0] ?? []
  if (networkInterface === undefined || gateway === undefined) return undefined
  // As a number of this host's byte order.
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(Number.parseInt(gateway, 16))
  return { address: bytes.join('.'), networkInterface }
}

/** Only a clear no counts: a host without this file (or a network of its own) has it by other means. */
async function hasCarrier(
  { networkInterface }: Gateway,
  read: (path: string) => Promise<string>,
): Promise<boolean> {
  const carrier = await read(`/sys/class/net/${networkInterface}/carrier`).catch(() => '')
  return carrier.trim() !== '0'
}
