import type { NetworkSpec, Resource } from '@moot/crdt-state'
import { expect, test } from 'vitest'
import { network } from '../../core/network/scene.testing.ts'
import type { Overlay } from '../../core/reconcile/actions.ts'
import { BridgeInUseError, EngineCallError, failureCause } from '../../ports/engine.errors.ts'
import type { DockerConnection } from './connection.ts'
import { LocalNetworks } from './networks.ts'
import type { Ownership } from './labels.ts'

interface Made {
  readonly Id: string
  readonly Name: string
  readonly Labels: Readonly<Record<string, string>>
}

/** As much of an engine as networks ask. */
function engine() {
  const networks = new Map<string, Made>()
  const inUse = new Set<string>()
  let made = 0
  const listed = (query: { filters?: string } = {}): readonly Made[] => {
    const { label: labels = [] } = JSON.parse(query.filters ?? '{}') as { label?: readonly string[] }
    return [...networks.values()].filter(({ Labels }) =>
      labels.every((each) => Object.entries(Labels).some(([key, value]) => each === `${key}=${value}`)),
    )
  }
  interface Asked {
    readonly method: string
    readonly path: string
    readonly body?: object
    readonly query?: { filters?: string }
  }
  const request = async ({ method, path, body, query }: Asked) => {
    const id = path.slice('/networks/'.length)
    if (method === 'GET') return listed(query)
    if (method === 'DELETE') {
      if (inUse.has(id)) throw new EngineCallError(403, 'network has active endpoints')
      networks.delete(id)
      return undefined
    }
    const { Name, Labels } = body as Made
    if ([...networks.values()].some((each) => each.Name === Name))
      throw new EngineCallError(409, 'name in use')
    if (networks.size > 0)
      throw new EngineCallError(403, 'Pool overlaps with other one on this address space')
    const Id = `n${(made += 1)}`
    networks.set(Id, { Id, Name, Labels })
    return { Id }
  }
  const own = { cluster: 'c', node: 'n' } as unknown as Ownership
  const local = new LocalNetworks({ request } as unknown as DockerConnection, () => own)
  return { local, networks, inUse }
}

const back: Resource<NetworkSpec> = network('back')
const again: Resource<NetworkSpec> = network('again')
const overlayAt = (gateway: string, of = back): Overlay => ({
  network: of,
  bridge: 'moot-back',
  subnet: '10.5.0.0/18',
  gateway,
  address: '10.5.16.9',
})
const never = new AbortController().signal

const attaching =
  (local: LocalNetworks) =>
  (overlay: Overlay): Promise<readonly string[]> => {
    const setup = { spec: { TaskTemplate: {} }, networks: [overlay.network], overlays: [overlay] } as never
    return local.attach(setup, never, async (all) => all.map(({ name }) => name))
  }

test('a network that was made anew with the same subnet has its bridge once nobody is on that of the one before', async () => {
  const { local, networks, inUse } = engine()
  const attach = attaching(local)
  expect(await attach(overlayAt('10.5.16.1'))).toEqual(['back'])
  inUse.add('n1')
  const early = await attach(overlayAt('10.5.16.1', again)).catch((error: unknown) => error)
  expect(early).toBeInstanceOf(BridgeInUseError)
  inUse.clear()
  expect(await attach(overlayAt('10.5.16.1', again))).toEqual(['again'])
  expect([...networks.keys()]).toEqual(['n2'])
})

test('a network whose bridge has another address here by now is made anew, once what is on it has stopped', async () => {
  const { local, networks, inUse } = engine()
  const attach = attaching(local)
  expect(await attach(overlayAt('10.5.16.1'))).toEqual(['back'])
  inUse.add('n1')
  const early = await attach(overlayAt('10.5.32.1')).catch((error: unknown) => error)
  expect(early).toBeInstanceOf(BridgeInUseError)
  expect(failureCause(early)).toBe('engine')
  inUse.clear()
  expect(await attach(overlayAt('10.5.32.1'))).toEqual(['back'])
  expect([...networks.keys()]).toEqual(['n2'])
})
