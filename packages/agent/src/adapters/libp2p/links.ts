import type { NodeId } from '@moot/crdt-state'
import type { Link } from './link.ts'

type PeerEvent = { readonly kind: 'connected' | 'disconnected'; readonly node: NodeId }

/** Every open connection by node. A node is a peer while at least one of its links is accepted. */
export class Links {
  readonly #links = new Map<NodeId, Set<Link>>()
  readonly #peers = new Set<NodeId>()
  readonly #emit: (event: PeerEvent) => void

  constructor(emit: (event: PeerEvent) => void) {
    this.#emit = emit
  }

  peers(): ReadonlySet<NodeId> {
    return new Set(this.#peers)
  }
  isPeer(node: NodeId): boolean {
    return this.#peers.has(node)
  }
  *all(): Generator<Link> {
    for (const links of this.#links.values()) yield* links
  }
  of(node: NodeId): readonly Link[] {
    return [...(this.#links.get(node) ?? [])]
  }
  /** The accepted link that was heard last. */
  best(node: NodeId): Link | undefined {
    return this.of(node)
      .filter((link) => link.state.kind === 'accepted')
      .sort((a, b) => b.lastHeardMs - a.lastHeardMs)[0]
  }

  add(link: Link): void {
    const links = this.#links.get(link.node) ?? new Set()
    this.#links.set(link.node, links.add(link))
  }
  remove(link: Link): void {
    const links = this.#links.get(link.node)
    links?.delete(link)
    if (links?.size === 0) this.#links.delete(link.node)
    this.refresh(link.node)
  }
  /** A link's state changed: does its node count as a peer now? */
  refresh(node: NodeId): void {
    const before = this.#peers.has(node)
    const now = this.best(node) !== undefined
    if (before === now) return
    if (now) this.#peers.add(node)
    else this.#peers.delete(node)
    this.#emit({ kind: now ? 'connected' : 'disconnected', node })
  }
}
