import { waitUntil } from './shell.ts'
import { askJson } from './socket-http.ts'

/** An agent's socket, and the address under which its peers reach it. */
export interface Member {
  readonly name: string
  readonly socket: string
  readonly advertise: string
}

interface Status {
  readonly state: { readonly kind: 'inactive' | 'active' | 'removed' }
}

export async function stateOf(socket: string): Promise<Status['state']['kind']> {
  return (await askJson<Status>(socket, 'GET', '/moot/v1/status', { timeoutMs: 5_000 })).state.kind
}

interface NodeLine {
  readonly Description?: { readonly Hostname?: string }
  readonly Status?: { readonly State?: string }
}

export async function readyNodes(socket: string): Promise<string[]> {
  const nodes = await askJson<NodeLine[]>(socket, 'GET', '/nodes', { timeoutMs: 5_000 })
  return nodes
    .filter((node) => node.Status?.State === 'ready')
    .map((node) => node.Description?.Hostname ?? '?')
    .sort()
}

/**
 * One cluster of all that are given: the first that is active already (or else the first) gives the others their
 * one-time tokens. Done when each of them sees each of them ready.
 */
export async function formCluster(
  members: readonly Member[],
  progress: (line: string) => void,
  timeoutMs = 60_000,
): Promise<void> {
  const states = await Promise.all(members.map((member) => stateOf(member.socket)))
  const issuer = members[Math.max(0, states.indexOf('active'))]
  if (issuer === undefined) return
  if (!states.includes('active')) {
    await askJson(issuer.socket, 'POST', '/moot/v1/init', { body: { advertise: issuer.advertise } })
    progress(`${issuer.name} founded the cluster`)
  }
  for (const [position, member] of members.entries()) {
    if (member === issuer || states[position] === 'active') continue
    const { token } = await askJson<{ token: string }>(issuer.socket, 'POST', '/moot/v1/tokens', { body: {} })
    await askJson(member.socket, 'POST', '/moot/v1/join', { body: { token, advertise: member.advertise } })
    progress(`${member.name} joined`)
  }
  const names = members.map((member) => member.name)
  await Promise.all(
    members.map((member) =>
      waitUntil(
        `${member.name} sees ${names.join(', ')} ready`,
        async () => {
          const ready = await readyNodes(member.socket)
          if (names.every((name) => ready.includes(name))) return true
          throw new Error(`it sees ${ready.join(', ') || 'none'}`)
        },
        { timeoutMs },
      ),
    ),
  )
}
