import { fileURLToPath } from 'node:url'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { run } from '../../scripts/bed/shell.ts'
import { Hosts, type TestHost } from './hosts.ts'
import { allReady, containersOf, createService, untilRuns } from './questions.ts'

const main = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url))
const replicas = 6

function moot(host: TestHost, ...words: readonly string[]): Promise<string> {
  const env = { ...process.env, MOOT_HOST: `unix://${host.agentSocket}` }
  return run(process.execPath, [main, ...words], { env, timeoutMs: 60_000 })
}

/** The fewest that ran at any moment while it was done, by the engines' own word. */
async function fewestDuring(hosts: Hosts, act: () => Promise<unknown>): Promise<number> {
  let fewest = Infinity
  const over = new AbortController()
  const watching = (async () => {
    while (!over.signal.aborted) fewest = Math.min(fewest, (await containersOf(hosts, 'web')).length)
  })()
  try {
    await act()
  } finally {
    over.abort()
    await watching
  }
  return fewest
}

describe('six replicas on two of three hosts', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(3)
  })
  beforeEach(async () => {
    await hosts.reset()
    await allReady(hosts)
  })

  it('are evened out when that is asked for, and leave a host that is drained, and six run at every moment', async () => {
    const [first, second, third] = [hosts.host(1), hosts.host(2), hosts.host(3)]
    const counts = async (): Promise<readonly number[]> => {
      const running = await containersOf(hosts, 'web')
      return [1, 2, 3].map((index) => running.filter(({ host }) => host === index).length)
    }
    await moot(first, 'node', 'drain', third.name, '--wait', '--timeout', '10s')
    await createService(first, 'web', '--replicas', String(replicas), '--update-parallelism', '2')
    await untilRuns(hosts, 'web', replicas)
    // As good as a host that has just joined.
    await moot(second, 'node', 'activate', third.name)
    expect(await counts()).toEqual([3, 3, 0])

    const before = (await containersOf(hosts, 'web')).map(({ Id }) => Id).toSorted()
    const shown = await moot(second, 'rebalance', '--dry-run')
    expect(shown.match(/^web\.\d +\S+ +\S+ +\S+ has 3 of web, \S+ has [01]$/gm)).toHaveLength(2)
    expect((await containersOf(hosts, 'web')).map(({ Id }) => Id).toSorted()).toEqual(before)

    const evened = await fewestDuring(hosts, async () => {
      expect(await moot(second, 'rebalance', '--timeout', '30s')).toMatch(/2 tasks moved\n$/)
    })
    expect(evened).toBeGreaterThanOrEqual(replicas)
    await untilRuns(hosts, 'web', replicas)
    expect(await counts()).toEqual([2, 2, 2])
    expect(await moot(second, 'rebalance')).toBe('nothing to move: it is as even as it can be\n')

    const drained = await fewestDuring(hosts, () =>
      moot(first, 'node', 'drain', second.name, '--wait', '--timeout', '30s'),
    )
    // It has returned: the host may reboot now.
    expect(await second.runningContainers()).toEqual([])
    expect(drained).toBeGreaterThanOrEqual(replicas)
    await untilRuns(hosts, 'web', replicas)
    expect(await counts()).toEqual([3, 0, 3])
  })
})
