import { readyNodes, stateOf } from './form-cluster.ts'
import type { Host } from './host.ts'
import type { Bed } from './hosts.ts'
import { cableOf } from './network.ts'
import { askJson } from './socket-http.ts'

export interface HostStatus {
  readonly host: number
  readonly name: string
  readonly address: string
  readonly power: 'on' | 'off'
  readonly link: 'up' | 'cut' | 'none'
  /** Hosts on the same switch see each other. */
  readonly switch: number | undefined
  readonly engine: string
  readonly containers: number | undefined
  readonly agent: string
  readonly agentPid: number | undefined
  readonly sees: readonly string[] | undefined
  readonly dockerSocket: string
  readonly mootSocket: string
}

export async function describe(bed: Bed, host: Host): Promise<HostStatus> {
  const { place } = host
  const cable = await cableOf(bed.place, place)
  const info = await orUndefined(
    askJson<{ ServerVersion: string; ContainersRunning: number }>(place.engineSocket, 'GET', '/info', {
      timeoutMs: 3_000,
    }),
  )
  const agent = host.program('agent')
  const state = agent === undefined ? undefined : await orUndefined(stateOf(place.agentSocket))
  return {
    host: place.index,
    name: place.name,
    address: place.address,
    power: host.isOn() ? 'on' : 'off',
    link: cable.kind === 'plugged' ? 'up' : cable.kind,
    switch: cable.kind === 'none' ? undefined : cable.switchNumber,
    engine: info?.ServerVersion ?? 'silent',
    containers: info?.ContainersRunning,
    agent: agent === undefined ? 'none' : (state ?? 'silent'),
    agentPid: agent?.main.pid,
    sees: state === 'active' ? await orUndefined(readyNodes(place.agentSocket)) : undefined,
    dockerSocket: place.engineSocket,
    mootSocket: place.agentSocket,
  }
}

async function orUndefined<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch {
    return undefined
  }
}

export function table(lines: readonly HostStatus[]): string {
  if (lines.length === 0) return 'There are no hosts. Begin with: scripts/hosts up N'
  const rows = [
    ['HOST', 'ADDRESS', 'POWER', 'LINK', 'SWITCH', 'ENGINE', 'CONTAINERS', 'AGENT', 'SEES READY'],
    ...lines.map((line) => [
      line.name,
      line.address,
      line.power,
      line.link,
      String(line.switch ?? '-'),
      line.engine,
      String(line.containers ?? '-'),
      line.agent,
      line.sees?.join(' ') ?? '-',
    ]),
  ]
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(columnWidth(rows, column)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function columnWidth(rows: readonly (readonly string[])[], column: number): number {
  return Math.max(...rows.map((row) => row[column]?.length ?? 0))
}
