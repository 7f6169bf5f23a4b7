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
 * Where more observers began to accuse a target at the same moment than did not, which is what a verdict takes: counted
 * anew from what they said, so that a verdict which nobody had time to act upon is found too.
 */
export function condemned(lines: readonly AlertLine[], observerCount: number, sinceMs: number): Verdict[] {
  const words = new Map<number, Map<number, string>>()
  const found: Verdict[] = []
  for (const { atMs, observer, target, evidence } of lines) {
    const said = words.get(target) ?? new Map<number, string>()
    const before = verdictOf(said, observerCount)
    words.set(target, said.set(observer, evidence))
    const kind = verdictOf(said, observerCount)
    if (atMs < sinceMs || kind === undefined || kind === before) continue
    const all = [...said].map(([by, word]) => `${by} ${word}`).join(', ')
    found.push({ kind, text: `host ${target} is ${kind} by what the others say: ${all}` })
  }
  return found
}

function verdictOf(said: ReadonlyMap<number, string>, observerCount: number): Verdict['kind'] | undefined {
  const count = (...evidence: string[]): number =>
    [...said.values()].filter((word) => evidence.includes(word)).length
  const silent = count('silent', 'judged')
  if (silent > observerCount - silent) return 'down'
  const accusing = silent + count('refused')
  return accusing > observerCount - accusing ? 'agent-down' : undefined
}
