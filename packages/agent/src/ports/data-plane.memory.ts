import type { Address, Frontend, Plane, PlaneNetwork, Protocol } from '../core/network/plane.ts'
import { defaults } from '../defaults.ts'
import { DataPlaneError } from './data-plane.errors.ts'
import type { DataPlane, DataPlaneAbility, Tunnel } from './data-plane.ts'

/** Who opens a connection: somebody out in the world, a process of this host, or a container behind one of its bridges. */
export type Origin =
  | { readonly kind: 'world' }
  | { readonly kind: 'host' }
  | { readonly kind: 'container'; readonly network: PlaneNetwork['id'] }

/** What a kernel does with the first packet of a connection. */
export type Fate =
  /** Sent to a backend in place of whom it was addressed to. */
  | { readonly kind: 'balanced'; readonly to: Address; readonly port: number }
  /** On its way untranslated. */
  | { readonly kind: 'passed' }
  | { readonly kind: 'refused' | 'dropped' }

export class BrokenMemoryKernelError extends DataPlaneError {
  readonly code = 'ERR_DATA_PLANE_BROKEN'
  override name = 'BrokenMemoryKernelError'
}

export interface MemoryDataPlane extends DataPlane {
  /** What it applied last; undefined before, and when cleared. */
  readonly plane: Plane | undefined
  /** Something that it made has ended. */
  lose(): void
  /** Somebody took away what it made. */
  flush(): void
  /** While set, `apply` and `check` reject. */
  broken: boolean
  /** Asked once for each new connection: backends take turns. */
  fateOf(origin: Origin, protocol: Protocol, to: Address, port: number): Fate
}

/** The data plane port in memory: what the kernel would do with a connection can be asked. */
export function memoryDataPlane(
  ability: DataPlaneAbility = {
    kind: 'kernel',
    version: 'in memory',
    wireGuard: { kind: 'none', why: 'nobody reads what is in memory' },
  },
): MemoryDataPlane {
  let applied: Plane | undefined
  /** Whatever somebody did to it. */
  let wanted: Plane | undefined
  let turn = 0
  let isIntact = true
  const tunnelOf = ({ self, peers }: Plane): Tunnel => ({
    kind: 'vxlan',
    device: 'moot0',
    port: defaults.tunnelPort,
    mtuBytes:
      1500 - defaults.tunnelOverheadBytes - (self.keys === undefined ? 0 : defaults.wireGuardOverheadBytes),
    peers: peers.map(({ mac, underlay, mark }) => ({ mac, underlay, mark })),
  })
  const twin: MemoryDataPlane = {
    broken: false,
    get plane() {
      return applied
    },
    ability: () => Promise.resolve(ability),
    async apply(plane, signal) {
      await Promise.resolve()
      signal.throwIfAborted()
      if (twin.broken) throw new BrokenMemoryKernelError('the kernel in memory is set to refuse')
      wanted = plane
      applied = plane
      isIntact = true
    },
    async check(signal) {
      if (wanted !== undefined) await twin.apply(wanted, signal)
    },
    isIntact: () => isIntact,
    lose() {
      applied = undefined
      isIntact = false
    },
    flush() {
      applied = undefined
    },
    tunnel: () => Promise.resolve(applied && tunnelOf(applied)),
    clear() {
      wanted = undefined
      applied = undefined
      return Promise.resolve()
    },
    fateOf(origin, protocol, to, port) {
      if (applied === undefined) return { kind: 'passed' }
      const network = applied.networks.find(({ virtual }) => contains(virtual, to))
      const frontend = frontendFor(applied, origin, { protocol, to, port, network })
      if (frontend === undefined) return untranslated(applied, origin, to, network)
      const { at, backends } = frontend
      const backend = backends[turn++ % Math.max(1, backends.length)]
      if (backend === undefined) return { kind: 'refused' }
      return { kind: 'balanced', to: backend, port: at.kind === 'virtual' ? port : at.target }
    },
  }
  return twin
}

function frontendFor(
  plane: Plane,
  origin: Origin,
  to: {
    readonly protocol: Protocol
    readonly to: Address
    readonly port: number
    readonly network: PlaneNetwork | undefined
  },
): Frontend | undefined {
  if (to.network !== undefined) {
    if (origin.kind === 'world') return undefined
    if (origin.kind === 'container' && origin.network !== to.network.id) return undefined
    return plane.frontends.find(({ at }) => at.kind === 'virtual' && at.address === to.to)
  }
  const from = origin.kind === 'container' ? networkOf(plane, origin.network) : undefined
  if (from?.isInternal === true || plane.networks.some(({ subnet }) => contains(subnet, to.to)))
    return undefined
  return plane.frontends.find(
    ({ at }) => at.kind === 'published' && at.port === to.port && at.protocol === to.protocol,
  )
}

/** Networks are isolated from each other, and internal ones from the world. */
function untranslated(plane: Plane, origin: Origin, to: Address, isVirtual: PlaneNetwork | undefined): Fate {
  if (isVirtual !== undefined) return { kind: 'dropped' }
  const target = plane.networks.find(({ subnet }) => contains(subnet, to))
  if (origin.kind === 'host') return { kind: 'passed' }
  if (origin.kind === 'world') return { kind: target === undefined ? 'passed' : 'dropped' }
  const isOwn = target?.id === origin.network
  const isOut = target === undefined && networkOf(plane, origin.network)?.isInternal !== true
  return { kind: isOwn || isOut ? 'passed' : 'dropped' }
}

function networkOf(plane: Plane, id: PlaneNetwork['id']): PlaneNetwork | undefined {
  return plane.networks.find((network) => network.id === id)
}

function contains(cidr: string, address: Address): boolean {
  const [base = '', prefix = '32'] = cidr.split('/')
  const size = 2 ** (32 - Number(prefix))
  return Math.floor(numberOf(base) / size) === Math.floor(numberOf(address) / size)
}

function numberOf(address: Address): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
}
