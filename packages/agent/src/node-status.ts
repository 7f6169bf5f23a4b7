import { type NodeStatus, recordKey, type RecordMessage, type RecordStore } from '@moot/crdt-state'
import type { Logger } from 'pino'
import type { EngineState, EngineWatch } from './engine-watch.ts'
import type { MemberOptions } from './member.ts'
import type { Mesh } from './ports/mesh.ts'

/**
 * What this node says of itself in its record; undefined before its engine has been asked. Where it does not answer since this
 * agent started, what was known `before` holds: but not that it is up.
 */
export function statusOf(
  options: Pick<MemberOptions, 'addresses' | 'agentVersion' | 'rules' | 'settings' | 'clock'>,
  watch: EngineWatch,
  mesh: Mesh,
  before: NodeStatus | undefined,
  seat: NonNullable<NodeStatus['seat']>,
  wireGuard: NodeStatus['wireGuard'],
): NodeStatus | undefined {
  const facts = watch.facts()
  const state = watch.state()
  const end = wireGuard !== undefined && { wireGuard }
  if (facts === undefined) {
    if (before === undefined || state.kind === 'up' || state.isNew) return undefined
    const { wireGuard: _, ...kept } = before
    return { ...kept, seat, engine: engineDown(state, options), ...end }
  }
  return {
    hostname: facts.hostname,
    addresses: options.addresses(),
    meshAddresses: mesh.addresses(),
    agentVersion: options.agentVersion,
    rules: options.rules.map(({ version }) => version),
    engine:
      state.kind === 'up'
        ? { state: 'up', version: facts.version, apiVersion: facts.apiVersion, bootId: facts.bootId }
        : engineDown(state, options),
    platform: { os: facts.os, architecture: facts.architecture },
    capacity: {
      nanoCpus: facts.nanoCpus,
      memoryBytes: facts.memoryBytes,
      generic: facts.generic,
      maxTasks: options.settings.maxTasksPerNode,
    },
    engineLabels: facts.labels,
    plugins: facts.plugins,
    volumes: watch.volumes(),
    seat,
    ...end,
  }
}

/** While it does not answer it is listed again and again, and each time this is told anew. */
function engineDown(
  { error, sinceMs }: EngineState & { readonly kind: 'down' },
  { clock, settings }: Pick<MemberOptions, 'clock' | 'settings'>,
): NodeStatus['engine'] {
  const isLong = clock.monotonicMs() - sinceMs >= settings.engineDownGraceMs
  return { state: 'down', error, ...(isLong && { forLong: true }) }
}

/** Writes this node's status into its record when it differs from what stands there. */
export function createStatusWriter(options: {
  readonly read: () => NodeStatus | undefined
  readonly mayWrite: () => boolean
  readonly records: RecordStore
  readonly publish: (delta: RecordMessage) => void
  readonly logger: Logger
}): { publish(): void } {
  let last = ''
  return {
    publish() {
      const status = options.mayWrite() ? options.read() : undefined
      const text = status === undefined ? last : JSON.stringify(status)
      if (status === undefined || text === last) return
      last = text
      options.records.write(new Map([[recordKey.status, status]])).then(options.publish, (error: unknown) => {
        // With the next listing of the engine.
        last = ''
        options.logger.error({ err: error }, "cannot write this node's status; it is tried again")
      })
    },
  }
}
