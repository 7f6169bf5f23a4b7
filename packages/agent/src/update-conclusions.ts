import {
  type Resource,
  type ServiceSpec,
  specDigest,
  type SpecMessage,
  type SpecStore,
  type UpdateFailure,
  partitionFact,
  updateFact,
  wayBack,
  wayBackWithRelease,
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
  /** As they were when there was nothing to go back to with a release. */
  const hopeless = new WeakMap<object, Set<string>>()

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
    if (outcome.kind === 'loosened') {
      const key = partitionFact.loosened(outcome.slot, outcome.term)
      await options.commit(await specs.addFact('service', id, key, { atMs: author.atMs }, author))
      return
    }
    const { release } = outcome
    const key = release === undefined ? updateFact.failed(digest) : updateFact.failedWith(digest, release.id)
    if (hopeless.get(service)?.has(key) === true) return
    const failure = failureOf(service, outcome)
    if (failure === undefined && release === undefined) {
      // It is what there was first: it is gone back to, whatever it could not be given now.
      return write({ service: id, digest, outcome: { kind: 'completed' } })
    }
    if (failure === undefined) {
      hopeless.set(service, (hopeless.get(service) ?? new Set()).add(key))
      return
    }
    logger.warn(
      { service: service.name, task: outcome.task, ...(release !== undefined && { release }) },
      release === undefined
        ? 'an update has failed and is rolled back'
        : 'a service is rolled back with its release, of which another has failed',
    )
    await options.commit(await specs.addFact('service', id, key, failure, author))
  }

  /** Undefined: there is nothing to go back to. */
  function failureOf(
    { id, spec, facts }: Resource<ServiceSpec>,
    { task, release }: Extract<Conclusion['outcome'], { kind: 'failed' }>,
  ): UpdateFailure | undefined {
    const history = specs.history('service', id)
    const atMs = wallMs()
    if (release === undefined) {
      const way = wayBack(history, spec, facts)
      if (way === undefined) return undefined
      const { back, releases } = way
      return { task, atMs, back, ...(releases.length > 0 && { releases: [...releases] }) }
    }
    const back = wayBackWithRelease(history, spec, facts, new Set(release.undone))
    return back && { task, atMs, back, release: { id: release.id, service: release.service } }
  }

  return (conclusion) => {
    const { service, digest, outcome } = conclusion
    const slot = outcome.kind === 'loosened' ? `/${outcome.slot}` : ''
    const key = `${service}/${digest}/${outcome.kind}${slot}`
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
