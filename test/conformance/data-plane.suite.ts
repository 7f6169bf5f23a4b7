import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Address, Frontend, Protocol } from '../../packages/agent/src/core/network/plane.ts'
import type { DataPlane } from '../../packages/agent/src/ports/data-plane.ts'
import {
  addressOf,
  clientAddress,
  type ContainerName,
  containers,
  hostCount,
  macOf,
  planeOf,
  publishedFrontend,
  servedPort,
  underlayOf,
  virtualAddress,
  virtualFrontend,
} from './data-plane.setup.ts'

export type Asker = ContainerName | 'client' | `host${number}`

export type Answer =
  /** Who answered, and whom it saw asking. */
  | { readonly kind: 'answered'; readonly by: string; readonly sees: Address }
  /** Told at once that nobody is there. */
  | { readonly kind: 'refused' }
  /** No answer, or told that there is no way. */
  | { readonly kind: 'unreachable' }

/** For an answer that has to come, ms. */
const answerWithinMs = 10_000

/** Hosts and containers as in `data-plane.setup.ts`. */
export interface DataPlaneBed {
  dataPlane(host: number): DataPlane
  /** Whoever expects an answer is patient: on a busy machine it may be late. */
  ask(from: Asker, to: Address, port: number, protocol?: Protocol, patienceMs?: number): Promise<Answer>
  close(): Promise<void>
}

const signal = new AbortController().signal

/** What every data plane promises (design/network.md). */
export function dataPlaneSuite(name: string, bedOf: () => Promise<DataPlaneBed>): void {
  describe(`a data plane: ${name}`, () => {
    let bed: DataPlaneBed
    beforeAll(async () => {
      bed = await bedOf()
    })
    afterAll(() => bed?.close())
    beforeEach(() => apply([]))

    const apply = async (frontends: readonly Frontend[]): Promise<void> => {
      await Promise.all(
        Array.from({ length: hostCount }, (_, index) =>
          bed.dataPlane(index + 1).apply(planeOf(index + 1, frontends), signal),
        ),
      )
    }
    /** Who answered so many connections, and whom they saw. */
    const askOften = async (
      from: Asker,
      to: Address,
      port = servedPort,
      protocol: Protocol = 'tcp',
    ): Promise<{ readonly by: ReadonlySet<string>; readonly seen: ReadonlySet<string> }> => {
      const answered: Extract<Answer, { kind: 'answered' }>[] = []
      for (let count = 0; count < 24; count++) {
        const answer = await bed.ask(from, to, port, protocol, answerWithinMs)
        if (answer.kind !== 'answered') throw new Error(`${from} asked ${to}:${port}: ${answer.kind}`)
        answered.push(answer)
      }
      return {
        by: new Set(answered.map(({ by }) => by)),
        seen: new Set(answered.map(({ sees }) => sees)),
      }
    }
    const { web1, neighbour1, web2, data2, inner1, inner2 } = containers
    const vip = virtualAddress('web', 5)

    it('says that it is able, and in which version', async () => {
      expect(await bed.dataPlane(1).ability(signal)).toMatchObject({ kind: 'kernel' })
    })

    it('leads containers of one network to each other, on one host and over hosts', async () => {
      expect(await bed.ask('web1', web2.address, servedPort)).toEqual({
        kind: 'answered',
        by: 'web2',
        sees: web1.address,
      })
      expect(await bed.ask('web1', neighbour1.address, servedPort, 'udp')).toMatchObject({ by: 'neighbour1' })
      expect(await bed.ask('inner2', inner1.address, servedPort)).toMatchObject({ by: 'inner1' })
    })

    it.each(['tcp', 'udp'] as const)(
      'shares a virtual IP out among backends on this host and others, by %s; they see who asked',
      async (protocol) => {
        await apply([virtualFrontend('web', 5, [web1, web2])])
        const { by, seen } = await askOften('neighbour1', vip, servedPort, protocol)
        expect([...by].sort()).toEqual(['web1', 'web2'])
        expect([...seen]).toEqual([neighbour1.address])
      },
    )

    it.each(['tcp', 'udp'] as const)(
      "every host answers a published port by %s, also one without a bridge; the client's address arrives",
      async (protocol) => {
        await apply([publishedFrontend(8_080, [web1, web2], protocol)])
        for (const host of [1, 2, 3]) {
          const { by, seen } = await askOften('client', underlayOf(host), 8_080, protocol)
          expect([...by].sort()).toEqual(['web1', 'web2'])
          expect([...seen]).toEqual([clientAddress])
        }
      },
    )

    it('a container reaches itself through its own virtual IP', async () => {
      await apply([virtualFrontend('web', 5, [web1])])
      const answer = await bed.ask('web1', vip, servedPort)
      expect(answer).toEqual({ kind: 'answered', by: 'web1', sees: addressOf('web', 1, 1) })
    })

    it("answers this host's own processes: virtual IPs, published ports, 127.0.0.1", async () => {
      await apply([virtualFrontend('web', 5, [web1, web2]), publishedFrontend(8_080, [web1, web2])])
      for (const host of [1, 3]) {
        for (const [to, port] of [
          [vip, servedPort],
          [underlayOf(host), 8_080],
          ['127.0.0.1', 8_080],
        ] as const) {
          const { by } = await askOften(`host${host}`, to, port)
          expect([...by].sort()).toEqual(['web1', 'web2'])
        }
      }
    })

    it("a member's own process is answered through another member, by a container on its own host too", async () => {
      await apply([publishedFrontend(8_080, [web1, web2])])
      const { by } = await askOften('host2', underlayOf(3), 8_080)
      expect([...by].sort()).toEqual(['web1', 'web2'])
    })

    it('lets nothing through from one network to another, nor to its virtual IPs', async () => {
      await apply([virtualFrontend('data', 5, [data2])])
      for (const from of ['web1', 'web2', 'inner1'] as const) {
        for (const to of [data2.address, virtualAddress('data', 5), addressOf('data', 1, 2)]) {
          expect(await bed.ask(from, to, servedPort)).toEqual({ kind: 'unreachable' })
        }
      }
      expect(await bed.ask('data1', virtualAddress('data', 5), servedPort)).toMatchObject({ by: 'data2' })
      expect(await bed.ask('client', data2.address, servedPort)).toEqual({ kind: 'unreachable' })
    })

    it('what a service publishes is reached from another network by its published port; not from an internal one', async () => {
      await apply([publishedFrontend(8_080, [data2])])
      expect(await bed.ask('web1', underlayOf(1), 8_080)).toMatchObject({ by: 'data2' })
      expect(await bed.ask('inner1', underlayOf(1), 8_080)).not.toMatchObject({ kind: 'answered' })
      expect(await bed.ask('inner1', clientAddress, servedPort)).toEqual({ kind: 'unreachable' })
      expect(await bed.ask('web1', clientAddress, servedPort)).toMatchObject({
        by: 'client',
        sees: underlayOf(1),
      })
    })

    it('virtual IPs work on an internal network', async () => {
      await apply([virtualFrontend('inner', 5, [inner1, inner2])])
      const { by } = await askOften('inner1', virtualAddress('inner', 5))
      expect([...by].sort()).toEqual(['inner1', 'inner2'])
    })

    it.each(['tcp', 'udp'] as const)('refuses by %s at once where there is no backend', async (protocol) => {
      await apply([virtualFrontend('web', 5, []), publishedFrontend(8_080, [], protocol)])
      const asked = performance.now()
      expect(await bed.ask('web1', vip, servedPort, protocol)).toEqual({ kind: 'refused' })
      expect(await bed.ask('client', underlayOf(3), 8_080, protocol)).toEqual({ kind: 'refused' })
      expect(await bed.ask('host1', '127.0.0.1', 8_080, protocol)).toEqual({ kind: 'refused' })
      expect(performance.now() - asked).toBeLessThan(1_000)
    })

    it('a virtual IP of no service is nowhere', async () => {
      expect(await bed.ask('web1', virtualAddress('web', 9), servedPort)).toEqual({ kind: 'unreachable' })
      expect(await bed.ask('host1', virtualAddress('web', 9), servedPort)).toEqual({ kind: 'unreachable' })
    })

    it('once a change is applied every new connection follows it', async () => {
      for (const backends of [[web1], [web2], [web1, web2], [web2]]) {
        await apply([virtualFrontend('web', 5, backends), publishedFrontend(8_080, backends)])
        const wanted = backends.map(({ name }) => name)
        expect([...(await askOften('neighbour1', vip)).by].sort()).toEqual(wanted)
        expect([...(await askOften('client', underlayOf(1), 8_080)).by].sort()).toEqual(wanted)
      }
    })

    it('a plane that it cannot apply changes nothing that balances', async () => {
      await apply([virtualFrontend('web', 5, [web1])])
      const aborted = bed.dataPlane(1).apply(planeOf(1, []), AbortSignal.abort(new Error('stopped')))
      await expect(aborted).rejects.toThrow('stopped')
      expect(await bed.ask('neighbour1', vip, servedPort)).toMatchObject({ by: 'web1' })
    })

    it('a check leaves what is as it should be', async () => {
      await apply([virtualFrontend('web', 5, [web2])])
      await bed.dataPlane(1).check(signal)
      expect(await bed.ask('neighbour1', vip, servedPort)).toMatchObject({ by: 'web2' })
      const aborted = bed.dataPlane(1).check(AbortSignal.abort(new Error('stopped')))
      await expect(aborted).rejects.toThrow('stopped')
      expect(await bed.ask('neighbour1', vip, servedPort)).toMatchObject({ by: 'web2' })
    })

    it('of several applied at once the last one holds', async () => {
      const planes = [[web1], [web2], [neighbour1]].map((backends) =>
        planeOf(1, [virtualFrontend('web', 5, backends)]),
      )
      await Promise.all(planes.map((plane) => bed.dataPlane(1).apply(plane, signal)))
      expect([...(await askOften('web1', vip)).by]).toEqual(['neighbour1'])
    })

    it('tells of the tunnel, and lists who is in it', async () => {
      const { peers = [], ...tunnel } = (await bed.dataPlane(1).tunnel(signal)) ?? {}
      expect(tunnel).toEqual({ kind: 'vxlan', device: 'moot0', port: 7422, mtuBytes: 1450 })
      expect([...peers].sort((a, b) => (a.mac < b.mac ? -1 : 1))).toEqual([
        { mac: macOf(2), underlay: underlayOf(2), mark: 80 },
        { mac: macOf(3), underlay: underlayOf(3), mark: 120 },
      ])
    })

    it('clears all, twice if need be, and can begin again', async () => {
      await apply([virtualFrontend('web', 5, [web1, web2])])
      await bed.dataPlane(1).clear(signal)
      await bed.dataPlane(1).clear(signal)
      expect(await bed.dataPlane(1).tunnel(signal)).toBeUndefined()
      expect(await bed.ask('neighbour1', vip, servedPort)).toEqual({ kind: 'unreachable' })
      await apply([virtualFrontend('web', 5, [web1, web2])])
      expect([...(await askOften('neighbour1', vip)).by].sort()).toEqual(['web1', 'web2'])
    })
  })
}
