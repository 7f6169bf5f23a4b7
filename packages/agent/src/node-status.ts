import type { NodeStatus } from '@moot/crdt-state'
import type { EngineWatch } from './engine-watch.ts'
import type { MemberOptions } from './member.ts'
import type { Mesh } from './ports/mesh.ts'

/** What this node says of itself in its record; undefined before its engine has been seen. */
export function statusOf(
  options: Pick<MemberOptions, 'addresses' | 'agentVersion' | 'rules' | 'settings'>,
  watch: EngineWatch,
  mesh: Mesh,
): NodeStatus | undefined {
  const facts = watch.facts()
  const state = watch.state()
  if (facts === undefined) return undefined
  return {
    hostname: facts.hostname,
    addresses: options.addresses(),
    meshAddresses: mesh.addresses(),
    agentVersion: options.agentVersion,
    rules: options.rules,
    engine:
      state.kind === 'up'
        ? { state: 'up', version: facts.version, apiVersion: facts.apiVersion, bootId: facts.bootId }
        : { state: 'down', error: state.error },
    platform: { os: facts.os, architecture: facts.architecture },
    capacity: {
      nanoCpus: facts.nanoCpus,
      memoryBytes: facts.memoryBytes,
      generic: facts.generic,
      maxTasks: options.settings.maxTasksPerNode,
    },
    engineLabels: facts.labels,
    plugins: facts.plugins,
    volumes: watch.volumes(),
  }
}
