import { generateIdentity, type NodeId } from '@moot/crdt-state'
import {
  encodeIntroduction,
  type Introduction,
  parseIntroduction,
  type Standing,
  vouches,
} from '../../packages/agent/src/join/introduction.ts'
import type { Gate, Mesh, Topic } from '../../packages/agent/src/ports/mesh.ts'

/** Bounds used by the suite; the adapters are made with these. */
export const suiteMaxMessageBytes = 64 * 1024

export const suiteCluster = 'suite'
const anyIdentity = generateIdentity().identity

/** One adapter's way to make nodes that can reach each other. */
export interface MeshBed {
  /** A new node with a key of its own, not started. */
  node(gate: Gate, options?: { readonly gossip?: boolean }): Promise<SuiteNode>
  stop(): Promise<void>
}
export interface SuiteNode {
  readonly mesh: Mesh
  readonly publicKey: Uint8Array
  /** The same node after a restart of its agent, on another address; the old mesh must be stopped. Not started. */
  restarted(gate: Gate): Promise<SuiteNode>
  /** The process vanishes, its host stays. */
  kill(): Promise<void>
}

/** An allow-list that tests change. */
export class List implements Gate {
  readonly members = new Set<NodeId>()
  readonly removed = new Map<NodeId, Uint8Array>()
  /** What this node shows. */
  shows: Introduction = []
  /** Who may introduce others. */
  readonly trusted = new Set<NodeId>()
  member(node: NodeId): boolean {
    return this.members.has(node)
  }
  farewell(node: NodeId): Uint8Array | undefined {
    return this.removed.get(node)
  }
  introduction(): Uint8Array | undefined {
    return encodeIntroduction(this.shows)
  }
  introduced(node: NodeId, publicKey: Uint8Array, shown: Uint8Array): boolean {
    const standingOf = (signer: NodeId): Standing => (this.trusted.has(signer) ? 'trusted' : 'unknown')
    const introduction = parseIntroduction(shown) ?? []
    if (!vouches(introduction, publicKey, suiteCluster, standingOf, anyIdentity)) return false
    this.members.add(node)
    return true
  }
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
export const text = (value: Uint8Array): string => new TextDecoder().decode(value)
export const soon = (): AbortSignal => AbortSignal.timeout(8_000)

async function* concat(source: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  for await (const chunk of source) yield text(chunk)
}
export async function readAll(source: AsyncIterable<Uint8Array>): Promise<string> {
  let all = ''
  for await (const part of concat(source)) all += part
  return all
}

/** Resolves once `mesh` is connected with all of these. */
export function connected(mesh: Mesh, ...nodes: readonly NodeId[]): Promise<void> {
  return new Promise((resolve) => {
    const check = (): void => {
      if (!nodes.every((node) => mesh.peers().has(node))) return
      off()
      resolve()
    }
    const off = mesh.onPeer(check)
    check()
  })
}
export function disconnected(mesh: Mesh, node: NodeId): Promise<void> {
  return new Promise((resolve) => {
    const check = (): void => {
      if (mesh.peers().has(node)) return
      off()
      resolve()
    }
    const off = mesh.onPeer(check)
    check()
  })
}
/** Publishes until it was heard: gossip is lossy, and its own mesh forms some milliseconds after the connections. */
export async function heard(from: Mesh, to: Mesh, topic: Topic, message: string): Promise<NodeId> {
  const result = new Promise<NodeId>((resolve) => {
    const off = to.onGossip(topic, (sender, payload) => {
      if (text(payload) !== message) return
      off()
      resolve(sender)
    })
  })
  const abort = new AbortController()
  const publishing = (async () => {
    while (!abort.signal.aborted) {
      await from.publish(topic, bytes(message))
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })()
  const sender = await result
  abort.abort()
  await publishing
  return sender
}
