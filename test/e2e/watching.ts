import { setTimeout as delay } from 'node:timers/promises'
import { type ContainerEvent, containerEvents } from './container-events.ts'
import { alertLines, condemned, type Verdict } from './agent-logs.ts'
import type { Hosts, TestHost } from './hosts.ts'

/** What any agent saw of any other, and what any engine did, while something happened. */
export interface Seen {
  /** Allowed: they only stop traffic for a moment. */
  readonly suspicions: number
  readonly refusals: number
  /** Verdicts, and alerts enough for one. */
  readonly verdicts: readonly Verdict[]
  /** Containers of the cluster that were made, started or died. */
  readonly touched: readonly ContainerEvent[]
  /** How often an agent was asked who is alive, and answered. */
  readonly looks: number
}

interface SeenNode {
  readonly name: string
  readonly liveness: string
}

const lookIntervalMs = 250
/** An agent that stood still may be wrong about the others afterwards: longer than any verdict takes. */
const aftermathMs = 5_000

/** Does it, and watches all agents and engines meanwhile and for a while after. */
export async function watched(hosts: Hosts, act: () => Promise<void>): Promise<Seen> {
  const sinceMs = Date.now()
  const over = new AbortController()
  const verdicts = new Map<string, Verdict>()
  const note = (verdict: Verdict): unknown => verdicts.set(verdict.text, verdict)
  let looks = 0
  const looking = hosts.on().map(async (host) => {
    while (!over.signal.aborted) {
      for (const { name, liveness } of await nodesSeenBy(host)) {
        looks += 1
        if (liveness !== 'down' && liveness !== 'agent-down') continue
        note({ kind: liveness, text: `${host.name} sees ${name} ${liveness}` })
      }
      await delay(lookIntervalMs)
    }
  })
  try {
    await act()
    await delay(aftermathMs)
  } finally {
    over.abort()
    await Promise.all(looking)
  }
  const lines = await alertLines(hosts)
  const said = (evidence: string): number =>
    lines.filter((line) => line.atMs >= sinceMs && line.evidence === evidence).length
  for (const each of condemned(lines, hosts.count - 1, sinceMs)) note(each)
  return {
    suspicions: said('suspected'),
    refusals: said('refused'),
    verdicts: [...verdicts.values()],
    touched: await containerEvents(hosts, sinceMs),
    looks,
  }
}

/** Nothing where the agent does not answer: it may be the one that stands still. */
async function nodesSeenBy(host: TestHost): Promise<SeenNode[]> {
  return host.api<SeenNode[]>('GET', '/moot/v1/nodes').catch(() => [])
}
