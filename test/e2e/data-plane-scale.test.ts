import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Plane } from '../../packages/agent/src/core/network/plane.ts'
import { servedPort } from '../conformance/data-plane.setup.ts'
import { namespaceBed, type NamespaceBed } from './data-plane.bed.ts'
import { changed, largePlane } from './data-plane.large.ts'

describe("the Linux kernel's data plane, large", () => {
  let bed: NamespaceBed
  beforeAll(async () => {
    bed = await namespaceBed()
  })
  afterAll(() => bed?.close())

  // How long it takes is in `make bench`.
  it('1,000 services of 10 backends, half of them published, among 500 members: applied, changed, taken over, and answered', async () => {
    const apply = (plane: Plane): Promise<unknown> => bed.order('host1', { do: 'apply', plane })
    const plane = largePlane()
    await apply(plane)
    await apply(changed(plane, 1, (backends) => backends.slice(1)))
    await bed.replaceAgent(1)
    await apply({ ...plane, peers: plane.peers.slice(1) })
    const last = plane.frontends.at(-1)!
    const address = last.at.kind === 'virtual' ? last.at.address : ''
    expect(await bed.ask('neighbour1', address, servedPort)).toMatchObject({ by: 'web1' })
  })
})
