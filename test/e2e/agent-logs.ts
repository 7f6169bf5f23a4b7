import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Hosts } from './hosts.ts'

/** What an observer said of a target, as its agent's log has it (`alert`). */
export interface AlertLine {
  readonly atMs: number
  readonly observer: number
  readonly target: number
  readonly evidence: string
}

/** Every alert that any agent ever told its log, by time. Nothing is too short to be in it, unlike in what is polled. */
export async function alertLines(hosts: Hosts): Promise<AlertLine[]> {
  const numbers = await nodeNumbers(hosts)
  return hosts
    .all()
    .flatMap((host) =>
      linesOf(join(host.directory, 'agent.log')).flatMap((line) => {
        const target = numbers.get(String(line['target']))
        if (line['msg'] !== 'alert' || target === undefined) return []
        const { time, evidence } = line
        return [{ atMs: Number(time), observer: host.index, target, evidence: String(evidence) }]
      }),
    )
    .toSorted((a, b) => a.atMs - b.atMs)
}

/** Node id → host number. */
async function nodeNumbers(hosts: Hosts): Promise<ReadonlyMap<string, number>> {
  const entries = hosts.on().map(async (host) => {
    const { nodeId } = await host.api<{ nodeId: string }>('GET', '/moot/v1/status')
    return [nodeId, host.index] as const
  })
  return new Map(await Promise.all(entries))
}

/** Only whole JSON lines: Node's own words (an inspector that opens) stand in the same file. */
function linesOf(path: string): Record<string, unknown>[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

/** A verdict on a host, and who came to it on what grounds. */
export interface Verdict {
  readonly kind: 'down' | 'agent-down'
  readonly text: string
}

/**
 * Where more observers accused a target at the same moment than did not, which is what a verdict takes: counted anew
 * from what they said, so that a verdict which nobody had time to act upon is found too.
 */
export function condemned(lines: readonly AlertLine[], observerCount: number, sinceMs: number): Verdict[] {
  const accusers = new Map<number, Map<number, string>>()
  const found: Verdict[] = []
  for (const { atMs, observer, target, evidence } of lines) {
    const of = accusers.get(target) ?? new Map<number, string>()
    accusers.set(target, of)
    if (!['refused', 'silent', 'judged'].includes(evidence)) {
      of.delete(observer)
      continue
    }
    of.set(observer, evidence)
    const silent = [...of.values()].filter((word) => word !== 'refused').length
    if (atMs < sinceMs || of.size <= observerCount - of.size) continue
    const words = [...of].map(([by, word]) => `${by} ${word}`).join(', ')
    const kind = silent > observerCount - silent ? 'down' : 'agent-down'
    found.push({ kind, text: `host ${target} is ${kind} by what is said: ${words}` })
  }
  return found
}
