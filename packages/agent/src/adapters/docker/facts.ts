import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { GenericResource } from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import type { EngineFacts } from '../../ports/engine.ts'
import type { DockerConnection } from './connection.ts'

/** The part of `GET /info` that is read. */
interface Info {
  readonly Name: string
  readonly OSType: string
  readonly Architecture: string
  readonly NCPU: number
  readonly MemTotal: number
  readonly ServerVersion: string
  readonly Labels: readonly string[] | null
  readonly GenericResources: readonly GenericResource[] | null
  readonly CgroupDriver?: string
  readonly SecurityOptions?: readonly string[] | null
  readonly Plugins: Readonly<Record<string, readonly string[] | null>>
}

export async function readFacts(connection: DockerConnection, signal: AbortSignal): Promise<EngineFacts> {
  const timeoutMs = defaults.engineFactsTimeoutMs
  const [info, apiVersion, bootId] = await Promise.all([
    connection.request<Info>({ method: 'GET', path: '/info', signal, timeoutMs }),
    connection.apiVersion(signal),
    readBootId(),
  ])
  return {
    version: info.ServerVersion,
    apiVersion,
    hostname: info.Name,
    os: info.OSType,
    architecture: info.Architecture,
    bootId,
    nanoCpus: info.NCPU * 1e9,
    memoryBytes: info.MemTotal,
    generic: genericResources(info.GenericResources ?? []),
    labels: Object.fromEntries((info.Labels ?? []).map(splitLabel)),
    plugins: Object.entries(info.Plugins).flatMap(([type, names]) =>
      (names ?? []).map((name) => ({ type, name })),
    ),
    cgroups: {
      driver: info.CgroupDriver ?? 'none',
      // moby daemon/info.go: `name=rootless`, perhaps with more behind it.
      isRootless: (info.SecurityOptions ?? []).some((option) => option.split(',').includes('name=rootless')),
    },
  }
}

/**
 * Another value after each boot of the host, the same after a restart of the engine or of the agent. Containers and
 * test hosts share the kernel's boot id, so the start of this pid namespace's first process counts too.
 */
async function readBootId(): Promise<string> {
  const [kernel, first] = await Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    readFile('/proc/1/stat', 'utf8'),
  ])
  return createHash('sha256')
    .update(kernel.trim())
    .update(' ')
    .update(startTimeTicks(first))
    .digest('hex')
    .slice(0, 25)
}

/** Field 22 of proc_pid_stat(5); the second field is a name in parentheses that may itself contain anything. */
export function startTimeTicks(stat: string): string {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

/** Named resources of one kind come one by one: `gpu: [a, b]`. */
export function genericResources(resources: readonly GenericResource[]): EngineFacts['generic'] {
  const counts = new Map<string, number>()
  const names = new Map<string, string[]>()
  for (const { NamedResourceSpec: named, DiscreteResourceSpec: discrete } of resources) {
    if (named !== undefined) names.set(named.Kind, [...(names.get(named.Kind) ?? []), named.Value])
    if (discrete !== undefined) {
      counts.set(discrete.Kind, (counts.get(discrete.Kind) ?? 0) + discrete.Value)
    }
  }
  return [...names, ...counts].map(([kind, value]) => ({ kind, value }))
}

function splitLabel(text: string): readonly [string, string] {
  const equals = text.indexOf('=')
  return equals < 0 ? [text, ''] : [text.slice(0, equals), text.slice(equals + 1)]
}
