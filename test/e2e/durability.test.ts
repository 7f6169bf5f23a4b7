import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Hosts } from './hosts.ts'
import { allReady, createService, services, untilRuns } from './questions.ts'
import { madeDurable, type SystemCall, Trace } from './system-calls.ts'

interface Created {
  readonly ID: string
  readonly Warnings?: readonly string[] | null
}

/** Nothing to run, so that nothing but the spec itself is written. */
const idle = (name: string): object => ({
  Name: name,
  TaskTemplate: { ContainerSpec: { Image: 'moot/test:1' } },
  Mode: { Replicated: { Replicas: 0 } },
})

/** Killing a host keeps the page cache, so what follows is shown by the agents' system calls. */
describe('what is durable, and when', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
  })
  beforeEach(async () => {
    await hosts.reset()
    await allReady(hosts)
  })

  const create = (name: string): Promise<Created> =>
    hosts.host(2).api<Created>('POST', '/services/create', idle(name))
  const peers = [1, 3, 4, 5]
  const allKnow = (name: string): Promise<unknown> =>
    hosts.waitFor(`all five know ${name}`, async () => {
      const lists = await Promise.all(hosts.all().map(services))
      return lists.every((list) => list.some(({ Spec }) => Spec.Name === name))
    })

  /** What `work` gave, and the system calls of these hosts' agents meanwhile. */
  async function traced<T>(
    indices: readonly number[],
    work: () => Promise<T>,
    fault?: string,
  ): Promise<{ readonly result: T; readonly calls: readonly SystemCall[][] }> {
    const traces = await Promise.all(indices.map((index) => Trace.of(hosts.host(index), fault)))
    let calls: SystemCall[][] = []
    const end = async (): Promise<void> => {
      calls = await Promise.all(traces.map((trace) => trace.end()))
    }
    try {
      const result = await work()
      await end()
      return { result, calls }
    } catch (error) {
      await end()
      throw error
    }
  }

  it('a write is answered after this node has synced it to its disk, and after a peer has', async () => {
    const { result, calls } = await traced([2, ...peers], async () => {
      const { ID } = await create('told')
      await allKnow('told')
      return ID
    })
    const [own = [], ...others] = calls
    const answer = own.find(({ text }) => text.includes('HTTP/1.1 201') && text.includes(result))
    if (answer === undefined) throw new Error('the answer is not in the trace')
    const durableS = (trace: readonly SystemCall[]): number => madeDurable(trace, result)?.endS ?? Infinity
    expect(durableS(own)).toBeLessThanOrEqual(answer.startS)
    expect(Math.min(...others.map(durableS))).toBeLessThanOrEqual(answer.startS)
  })

  it('a claim is on the disk before the engine is asked for its container', async () => {
    const { calls } = await traced([3], async () => {
      await createService(hosts.host(1), 'one', '--constraint', 'node.hostname == node3')
      await untilRuns(hosts, 'one', 1)
    })
    const [own = []] = calls
    const asked = own.find(({ text }) => /POST [^ ]*\/containers\/create/.test(text))
    const [container] = await hosts.host(3).runningContainers()
    const task = container?.Labels['com.docker.swarm.task.id']
    if (asked === undefined || task === undefined) throw new Error('the container was never asked for')
    expect(madeDurable(own, `entry/task/${task}`)?.endS).toBeLessThanOrEqual(asked.startS)
  })

  it('a write waits for its peer: where every peer syncs a second late, the answer comes a second late', async () => {
    let tookMs = 0
    const { result } = await traced(
      peers,
      async () => {
        const begunAt = performance.now()
        const created = await create('late')
        tookMs = performance.now() - begunAt
        return created
      },
      'delay_enter=1000000',
    )
    expect(tookMs).toBeGreaterThan(1_000)
    expect(result.Warnings ?? []).toEqual([])
  })

  it('where no peer can sync, a write is done with a warning, and spreads once they can', async () => {
    const { result } = await traced(peers, () => create('alone'), 'error=EIO')
    expect(result.Warnings).toEqual([expect.stringMatching(/this node only/)])
    await allKnow('alone')
  })

  it('where this node cannot sync, a write fails and leaves nothing; afterwards it succeeds', async () => {
    const { result } = await traced(
      [2],
      () => hosts.host(2).answer('POST', '/services/create', idle('lost')),
      'error=EIO',
    )
    expect(result.status).toBe(500)
    expect(JSON.parse(result.text)).toMatchObject({ message: expect.stringMatching(/disk|stor/i) })
    for (const host of hosts.all()) expect(await services(host)).toEqual([])
    expect((await create('lost')).Warnings ?? []).toEqual([])
    await allKnow('lost')
  })
})
