import type { ResourceId } from '../ids.ts'

/** The n-th value that was written; the highest n counts, and who lost what it had goes on to n + 1. */
export interface Drawn<T> {
  readonly n: number
  readonly value: T
}

/**
 * Facts beside specs that say what was drawn for what people left open: a network's subnet, a service's virtual IPs and published
 * ports. They only grow. Two who write the same n differ only until they hear of each other: one value holds everywhere.
 */
export const addressFact = {
  /** Beside a network's spec. `subnet`: `10.128.0.0/18` */
  subnet: ({ n, value }: Drawn<string>): readonly [string, unknown] => [`subnet/${n}`, value],
  /** Beside a service's spec: its address on this network. */
  virtualIp: (network: ResourceId, { n, value }: Drawn<string>): readonly [string, unknown] => [
    `vip/${network}/${n}`,
    value,
  ],
  /** Beside a service's spec, `port` being the target's `80/tcp`: where every node answers for it. */
  port: (port: string, { n, value }: Drawn<number>): readonly [string, unknown] => [
    `port/${port}/${n}`,
    value,
  ],
} as const

/** The latest of each kind. */
export interface DrawnFacts {
  readonly subnet: Drawn<string> | undefined
  readonly virtualIps: ReadonlyMap<ResourceId, Drawn<string>>
  readonly ports: ReadonlyMap<string, Drawn<number>>
}

const keyPattern = /^(subnet|vip\/([^/]{1,64})|port\/(\d{1,5}\/[a-z]{1,8}))\/(\d{1,9})$/
const known = new WeakMap<ReadonlyMap<string, unknown>, DrawnFacts>()
const none: DrawnFacts = { subnet: undefined, virtualIps: new Map(), ports: new Map() }

/** Read once per version of a document's facts: they are asked for with each change of the view. */
export function drawnFacts(facts: ReadonlyMap<string, unknown>): DrawnFacts {
  if (facts.size === 0) return none
  let drawn = known.get(facts)
  if (drawn === undefined) known.set(facts, (drawn = readFacts(facts)))
  return drawn
}

/** A value of another type counts as its n: nobody can have it, and what is written next stands above it. */
function readFacts(facts: ReadonlyMap<string, unknown>): DrawnFacts {
  let subnet: Drawn<string> | undefined
  const virtualIps = new Map<ResourceId, Drawn<string>>()
  const ports = new Map<string, Drawn<number>>()
  for (const [key, value] of facts) {
    const [, kind, network, port, count] = keyPattern.exec(key) ?? []
    if (kind === undefined) continue
    const n = Number(count)
    const text = { n, value: typeof value === 'string' ? value : '' }
    if (network !== undefined) keepLatest(virtualIps, network as ResourceId, text)
    else if (port === undefined) subnet = subnet !== undefined && subnet.n > n ? subnet : text
    else keepLatest(ports, port, { n, value: typeof value === 'number' ? value : 0 })
  }
  if (subnet === undefined && virtualIps.size === 0 && ports.size === 0) return none
  return { subnet, virtualIps, ports }
}

function keepLatest<K, T>(latest: Map<K, Drawn<T>>, key: K, drawn: Drawn<T>): void {
  if ((latest.get(key)?.n ?? -1) < drawn.n) latest.set(key, drawn)
}
