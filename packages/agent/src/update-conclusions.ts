import {
  specDigest,
  type SpecMessage,
  type SpecStore,
  type UpdateFailure,
  updateFact,
  wayBack,
} from '@moot/crdt-state'
import type { Logger } from 'pino'
import type { Conclusion } from './core/reconcile/input.ts'

/**
 * Writes what became of an update beside the service's spec. Told again until it stands there; one write of each at a
 * time.
 */
export function createConcluder(options: {
  readonly self: string
  readonly specs: Pick<SpecStore, 'get' | 'history' | 'addFact'>
  /** Spreads what was written, and has a peer store it. */
  readonly commit: (messages: readonly SpecMessage[]) => Promise<unknown>
  readonly wallMs: () => number
  readonly logger: Logger
}): (conclusion: Conclusion) => void {
  const { self, specs, wallMs, logger } = options
  const underWay = new Set<string>()

  async function write({ service: id, digest, outcome }: Conclusion): Promise<void> {
    const service = specs.get('service', id)
    if (service === undefined || specDigest(service.spec) !== digest) return
    const author = { node: self, client: 'moot-agent', atMs: wallMs() }
    if (outcome.kind === 'completed') {
      await options.commit(
        await specs.addFact('service', id, updateFact.completed(digest), { atMs: author.atMs }, author),
      )
      return
    }
    const back = wayBack(specs.history('service', id), service.spec, service.facts)
    if (back === undefined) {
      // It is what there was first: it is gone back to, whatever it could not be given now.
      return write({ service: id, digest, outcome: { kind: 'completed' } })
    }
    logger.warn({ service: service.name, task: outcome.task }, 'an update has failed and is rolled back')
    const failure: UpdateFailure = { task: outcome.task, atMs: author.atMs, back }
    await options.commit(await specs.addFact('service', id, updateFact.failed(digest), failure, author))
  }

  return (conclusion) => {
    const key = `${conclusion.service}/${conclusion.digest}/${conclusion.outcome.kind}`
    if (underWay.has(key)) return
    underWay.add(key)
    write(conclusion)
      .catch((error: unknown) =>
        logger.error(
          { err: error, service: conclusion.service },
          'what became of an update could not be written',
        ),
      )
      .finally(() => underWay.delete(key))
  }
}
