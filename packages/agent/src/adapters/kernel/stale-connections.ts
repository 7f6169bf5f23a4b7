import type { Frontend, Plane } from '../../core/network/plane.ts'
import { defaults } from '../../defaults.ts'
import { KernelRefusedError } from '../../ports/data-plane.errors.ts'
import type { KernelCalls } from './calls.ts'
import { Ranges } from './ranges.ts'

/** A tracked connection that was translated, as far as it says where to and by whom it is answered. */
interface Translated {
  readonly protocol: string
  readonly to: string
  readonly port: string
  readonly by: string
}

const kinds = [
  { protocol: 'udp', filter: [] },
  // One that has been answered is established, and goes on to its end.
  { protocol: 'tcp', filter: ['--state', 'SYN_SENT'] },
] as const

/**
 * The kernel remembers for each connection where it was translated to. UDP has no end, and so would go on to a backend
 * that has gone, as would a SYN that is sent again: these are forgotten, so that their next packet is balanced anew.
 *
 * @param former Frontends that were in force before; empty if that is not known.
 */
export async function forgetStaleConnections(
  calls: KernelCalls,
  plane: Plane,
  former: readonly Frontend[],
): Promise<void> {
  const isStale = staleness(plane, former)
  await Promise.all(kinds.map(({ protocol, filter }) => forgetAll(calls, protocol, filter, isStale)))
}

async function forgetAll(
  calls: KernelCalls,
  protocol: string,
  filter: readonly string[],
  isStale: (found: Translated) => boolean,
): Promise<void> {
  const listed = await calls.run(
    'conntrack',
    ['-L', '-f', 'ipv4', '-p', protocol, '--dst-nat', ...filter],
    'list tracked connections',
  )
  const stale = new Map<string, Translated>()
  for (const line of listed.split('\n')) {
    const found = parse(protocol, line)
    if (found !== undefined && isStale(found)) stale.set(`${found.to} ${found.port} ${found.by}`, found)
  }
  const queue = [...stale.values()].slice(0, defaults.kernelForgetMax)
  await Promise.all(
    Array.from({ length: defaults.kernelForgetConcurrency }, async () => {
      for (let next = queue.pop(); next !== undefined; next = queue.pop()) await forget(calls, next, filter)
    }),
  )
}

/** Whether any connection can have become stale by such a change. */
export function haveBackendsGone(former: readonly Frontend[], now: readonly Frontend[]): boolean {
  const backends = new Map(now.map(({ at, backends }) => [keyOf(at), backends]))
  return former.some((frontend) => {
    const left = backends.get(keyOf(frontend.at))
    if (left === undefined) return true
    return frontend.backends.some((backend, index) => backend !== left[index] && !left.includes(backend))
  })
}

function staleness(plane: Plane, former: readonly Frontend[]): (found: Translated) => boolean {
  const virtual = new Ranges(plane.networks.map(({ virtual }) => virtual))
  const backends = new Map(plane.frontends.map(({ at, backends }) => [keyOf(at), new Set(backends)]))
  const known = new Set([...backends.keys(), ...former.map(({ at }) => keyOf(at))])
  return ({ protocol, to, port, by }) => {
    const key = backends.has(to) || known.has(to) || virtual.has(to) ? to : `${protocol} ${port}`
    // Somebody else's translation, such as a port that Docker published.
    if (!known.has(key) && !virtual.has(to)) return false
    return backends.get(key)?.has(by) !== true
  }
}

function keyOf(at: Frontend['at']): string {
  return at.kind === 'virtual' ? at.address : `${at.protocol} ${at.port}`
}

/** `udp 17 29 src=10.1.0.2 dst=10.9.0.1 sport=1 dport=53 [UNREPLIED] src=10.2.0.2 dst=…`: as sent, then as answered. */
function parse(protocol: string, line: string): Translated | undefined {
  const found = /\bsrc=\S+ dst=(\S+) sport=\d+ dport=(\d+) .*?\bsrc=(\S+) dst=/.exec(line)
  const [, to, port, by] = found ?? []
  if (to === undefined || port === undefined || by === undefined) return undefined
  return { protocol, to, port, by }
}

async function forget(
  calls: KernelCalls,
  { protocol, to, port, by }: Translated,
  filter: readonly string[],
): Promise<void> {
  const which = ['-f', 'ipv4', '-p', protocol, '--orig-dst', to, '--orig-port-dst', port, '--reply-src', by]
  try {
    await calls.run('conntrack', ['-D', ...which, ...filter], `forget connections to ${by}`)
  } catch (error) {
    // They ended by themselves meanwhile: "0 flow entries have been deleted" is an error to it.
    if (!(error instanceof KernelRefusedError && error.words.includes('flow entries'))) throw error
  }
}
