import { ask } from '../../scripts/bed/socket-http.ts'
import type { Hosts, TestHost } from './hosts.ts'

/** A container of the cluster began or ended, by its engine's own word. */
export interface ContainerEvent {
  readonly host: number
  readonly action: 'create' | 'start' | 'die'
  readonly service: string
  readonly slot: string
  readonly container: string
  /** By this machine's clock, which all engines share. */
  readonly atMs: number
}

interface EngineEvent {
  readonly timeNano: number
  readonly Action: ContainerEvent['action']
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> }
}

/** What happened on all hosts since then: also what was over before anybody could have listed it. */
export async function containerEvents(hosts: Hosts, sinceMs: number): Promise<ContainerEvent[]> {
  const lists = await Promise.all(hosts.on().map((host) => containerEventsOf(host, sinceMs)))
  return lists.flat()
}

export async function containerEventsOf(host: TestHost, sinceMs: number): Promise<ContainerEvent[]> {
  const filters = { type: ['container'], event: ['create', 'start', 'die'] }
  const query = new URLSearchParams({
    since: String(sinceMs / 1_000),
    // The engine's stream ends there.
    until: String(Date.now() / 1_000),
    filters: JSON.stringify(filters),
  })
  const { text } = await ask(host.engineSocket, 'GET', `/events?${query.toString()}`)
  return text.split('\n').flatMap((line) => {
    if (line === '') return []
    const { Action, Actor, timeNano } = JSON.parse(line) as EngineEvent
    const service = Actor.Attributes['com.docker.swarm.service.name']
    if (service === undefined) return []
    const slot = Actor.Attributes['moot.slot'] ?? ''
    return [
      {
        host: host.index,
        action: Action,
        service,
        slot,
        container: Actor.ID,
        atMs: Math.round(timeNano / 1e6),
      },
    ]
  })
}
