import type { ContainerId } from '@moot/crdt-state'
import { createDockerEngine } from '../../packages/agent/src/adapters/docker/engine.ts'
import { testCluster, testNode } from '../conformance/engine.setup.ts'
import type { EngineBed } from '../conformance/engine.suite.ts'
import { Hosts, type TestHost } from './hosts.ts'

export interface DockerBed extends EngineBed {
  readonly host: TestHost
  /** Warnings that the adapter logged. */
  readonly warnings: readonly string[]
  /** `docker inspect` of one thing. */
  inspect(...what: string[]): Promise<Record<string, unknown>>
}

/** One host's real engine, without an agent, emptied of what earlier tests made. */
export async function dockerBed(): Promise<DockerBed> {
  const hosts = await Hosts.up(1, { withoutAgent: true })
  const host = hosts.host(1)
  await empty(host)
  const warnings: string[] = []
  const engine = createDockerEngine({
    socketPath: host.engineSocket,
    clusterId: () => testCluster,
    node: testNode,
    logger: { warn: (_, message) => warnings.push(message) },
  })
  return {
    host,
    engine,
    warnings,
    greeting: 'v1 serves on port 80',
    kill: async (_, container) => {
      await host.engine('kill', '--signal', 'KILL', container)
    },
    advance: () => {},
    engineDown: () => hosts.engineKill(1),
    engineUp: () => hosts.engineStart(1),
    networks: async () => {
      const ids = await host.engine(
        'network',
        'ls',
        '--filter',
        'label=moot.network',
        '--format',
        '{{.Label "moot.network"}}',
      )
      return ids.split('\n').filter(Boolean)
    },
    removeNetwork: async (id) => {
      const found = await host.engine('network', 'ls', '-q', '--filter', `label=moot.network=${id}`)
      await host.engine('network', 'rm', found.trim())
    },
    putGuest: async (on, { address }) => {
      const name = `box-${process.pid}`
      const image = 'moot/test:1'
      const id = await host.engine('create', '--name', name, '--network', on, '--ip', address, image)
      return { container: id.trim() as ContainerId, name }
    },
    dropGuest: async (container) => {
      await host.engine('rm', '--force', container)
    },
    makeVolume: async (name) => {
      await host.engine('volume', 'create', '--label', `moot.cluster=${testCluster}`, name)
    },
    inspect: async (...what) => {
      const [found] = JSON.parse(await host.engine('inspect', ...what)) as Record<string, unknown>[]
      if (found === undefined) throw new Error(`nothing to inspect: ${what.join(' ')}`)
      return found
    },
    close: () => empty(host),
  }
}

async function empty(host: TestHost): Promise<void> {
  const remove = async (list: readonly string[], removal: readonly string[]): Promise<void> => {
    const ids = (await host.engine(...list, '-q', '--filter', `label=moot.cluster=${testCluster}`))
      .split('\n')
      .filter(Boolean)
    if (ids.length > 0) await host.engine(...removal, ...ids)
  }
  await remove(['ps', '-a'], ['rm', '-f', '-v'])
  await remove(['network', 'ls'], ['network', 'rm'])
  await remove(['volume', 'ls'], ['volume', 'rm'])
}
