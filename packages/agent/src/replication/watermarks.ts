import type { NodeId, RecordVersion } from '@moot/crdt-state'
import { isNewer } from '../core/membership/liveness.ts'
import { PeerRefusedError } from '../ports/mesh.errors.ts'
import type { Exchange } from './exchange.ts'
import { watermarkAnswerSchema, watermarkSchema } from './wire.ts'

/** Tells whoever asks which version of its record this node goes by. */
export function serveWatermarks(
  exchange: Exchange,
  goesBy: (node: NodeId) => RecordVersion | undefined,
): () => void {
  return exchange.serve('watermark', watermarkSchema, async (from) => {
    const version = goesBy(from)
    return { version: version === undefined ? null : [version.epoch, version.seq] }
  })
}

/**
 * Resolves once each of these nodes, this one too, goes by this node's record as it is now (DESIGN section 7: draining is
 * acknowledged by a watermark, sent to the node concerned), or is no longer waited for, or the time is up. Asked one to one,
 * and again shortly after where the record is still on its way: nothing of it is gossiped.
 */
export type TellAll = (signal: AbortSignal) => Promise<void>

export function createTellAll(
  exchange: Exchange,
  /** Who would send traffic here: asked each time, for one that dies is not waited for. */
  isWaitedFor: (node: NodeId) => boolean,
  /** This node balances to its own tasks too, and its kernel is told as late as any other. */
  goesBy: (node: NodeId) => RecordVersion | undefined,
): TellAll {
  const { records, clock, logger, settings } = exchange
  /** Many tasks stop in one decision: they wait for the same. */
  let last: { readonly version: RecordVersion; readonly told: Promise<void> } | undefined

  async function tell(node: NodeId, version: RecordVersion, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && isWaitedFor(node)) {
      try {
        const seen = await exchange.ask(node, 'watermark', {}, watermarkAnswerSchema, signal)
        const [epoch, seq] = seen.version ?? [0, 0]
        if (!isNewer(version, { epoch, seq })) return
      } catch (error) {
        // Whoever does not count this node among the members sends it nothing.
        if (error instanceof PeerRefusedError) return
      }
      await clock.sleep(settings.drainAskAgainMs, signal).catch(() => undefined)
    }
  }

  async function tellSelf(version: RecordVersion, signal: AbortSignal): Promise<void> {
    const { self } = exchange.mesh
    while (!signal.aborted && isNewer(version, goesBy(self) ?? { epoch: 0, seq: 0 }))
      await clock.sleep(settings.drainAskAgainMs, signal).catch(() => undefined)
  }

  async function tellEverybody(version: RecordVersion): Promise<void> {
    const { self } = exchange.mesh
    const waiting = new Set([self, ...records.all().keys()])
    const bound = new AbortController()
    const end = (): void => bound.abort(new Error('the time for telling others is up'))
    const cancel = clock.after(settings.drainAckMaxMs, () => {
      logger.warn(
        { nodes: [...waiting] },
        'these have not said in time that they send tasks that stop here nothing more: the tasks stop now, and what is sent to them may fail',
      )
      end()
    })
    exchange.stopped.addEventListener('abort', end, { once: true })
    try {
      await Promise.all(
        [...waiting].map(async (node) => {
          await (node === self ? tellSelf(version, bound.signal) : tell(node, version, bound.signal))
          waiting.delete(node)
        }),
      )
    } finally {
      cancel()
      exchange.stopped.removeEventListener('abort', end)
    }
  }

  return async (signal) => {
    const { epoch, seq } = records.own
    if (last === undefined || isNewer({ epoch, seq }, last.version)) {
      const version = { epoch, seq }
      last = { version, told: tellEverybody(version) }
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    const abort = (): void => resolve()
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    try {
      await Promise.race([last.told, promise])
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }
}
