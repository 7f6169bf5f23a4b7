import { describe, expect, it } from 'vitest'
import type { Address, Protocol } from '../../packages/agent/src/core/network/plane.ts'
import {
  BrokenMemoryKernelError,
  memoryDataPlane,
  type MemoryDataPlane,
  type Origin,
} from '../../packages/agent/src/ports/data-plane.memory.ts'
import {
  addressOf,
  clientAddress,
  type Container,
  type ContainerName,
  containers,
  hostCount,
  networkId,
  planeOf,
  publishedFrontend,
  underlayOf,
} from './data-plane.setup.ts'
import { type Answer, type Asker, type DataPlaneBed, dataPlaneSuite } from './data-plane.suite.ts'

dataPlaneSuite('in memory', () => Promise.resolve(memoryBed()))

describe('a data plane in memory', () => {
  const { signal } = new AbortController()

  it('can be set to refuse, and then changes nothing', async () => {
    const twin = memoryDataPlane()
    await twin.apply(planeOf(1, []), signal)
    twin.broken = true
    const plane = planeOf(1, [publishedFrontend(8_080, [])])
    await expect(twin.apply(plane, signal)).rejects.toBeInstanceOf(BrokenMemoryKernelError)
    expect(twin.plane?.frontends).toEqual([])
  })

  it('can be one that is able to nothing, and says why', async () => {
    const why = 'nft is missing'
    expect(await memoryDataPlane({ kind: 'none', why }).ability(signal)).toEqual({ kind: 'none', why })
  })
})

/** Packets' ways between twins: what each decides is asked of it. */
function memoryBed(): DataPlaneBed {
  const twins = Array.from({ length: hostCount }, () => memoryDataPlane())
  const twinOf = (host: number): MemoryDataPlane => {
    const twin = twins[host - 1]
    if (twin === undefined) throw new Error(`there is no host ${host}`)
    return twin
  }
  const all: readonly Container[] = Object.values(containers)
  const hostNumbers = twins.map((_, index) => index + 1)

  return {
    dataPlane: twinOf,
    ask(from: Asker, to: Address, port: number, protocol: Protocol = 'tcp'): Promise<Answer> {
      const asker = askerOf(from)
      const entry = hostNumbers.find((host) => underlayOf(host) === to) ?? asker.host
      // Nobody leads a stranger to addresses inside.
      if (entry === undefined) return Promise.resolve({ kind: 'unreachable' })
      const origin: Origin = entry === asker.host ? asker.origin : { kind: 'world' }
      const fate = twinOf(entry).fateOf(origin, protocol, to, port)
      if (fate.kind === 'refused') return Promise.resolve({ kind: 'refused' })
      const address = fate.kind === 'balanced' ? fate.to : to
      if (fate.kind === 'passed' && address === clientAddress) {
        return Promise.resolve({ kind: 'answered', by: 'client', sees: underlayOf(entry) })
      }
      const container = all.find((each) => each.address === address)
      if (fate.kind === 'dropped' || container === undefined) return Promise.resolve({ kind: 'unreachable' })
      const isHairpin = container.name === from
      const sees = isHairpin ? addressOf(container.network, container.host, 1) : asker.address
      return Promise.resolve({ kind: 'answered', by: container.name, sees })
    },
    close: () => Promise.resolve(),
  }
}

function askerOf(from: Asker): {
  readonly host: number | undefined
  readonly origin: Origin
  readonly address: Address
} {
  if (from === 'client') return { host: undefined, origin: { kind: 'world' }, address: clientAddress }
  if (from in containers) {
    const { host, network, address } = containers[from as ContainerName]
    return { host, origin: { kind: 'container', network: networkId(network) }, address }
  }
  const host = Number(from.slice('host'.length))
  return { host, origin: { kind: 'host' }, address: underlayOf(host) }
}
