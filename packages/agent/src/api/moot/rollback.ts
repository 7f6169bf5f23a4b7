import { randomInt } from 'node:crypto'
import {
  type HistoryEntry,
  releaseId,
  releaseNumber,
  releaseOf,
  type Resource,
  RollbackUnavailableError,
  type ServiceSpec,
} from '@moot/crdt-state'
import * as z from 'zod'
import { type Api, authorOf, type Call, param } from '../call.ts'
import { badRequest } from '../errors.ts'
import { triedAgain } from '../service-spec/tried-again.ts'
import { allWritten, distinctionSchema, isSame, releasedAs, writtenSchema } from './deploy.ts'
import { operation, type Operation } from './operation.ts'
import { nextReleaseNumber, type ReleaseWrite, releaseWrites, specBefore } from './release-history.ts'
import { subjectForm, subjectOf } from './subject.ts'

type Service = Resource<ServiceSpec>
type Entry = HistoryEntry<ServiceSpec>
type Written = z.infer<typeof writtenSchema>

const leftSchema = z.object({ name: z.string(), why: z.string() })
type Left = z.infer<typeof leftSchema>

interface Plan {
  readonly targets: readonly { readonly service: Service; readonly spec: ServiceSpec }[]
  readonly left: readonly Left[]
}

export const rollbackOperation: Operation = operation({
  method: 'POST',
  path: '/rollback/:ref',
  summary: `Write anew what was before the last change, or before the last release, or what is named: of ${subjectForm}`,
  body: z.strictObject({
    to: z
      .string()
      .regex(/^(\d{1,9}|[0-9a-f]{6,64}|\d{1,9}-[a-z0-9]{4,20})$/, 'give a number of "moot history"')
      .optional()
      .describe('A number of its changes, or the id beside it where two have the same.'),
    release: distinctionSchema.optional().describe('Of a stack: as for a deploy. Drawn here if not given.'),
  }),
  answer: z.object({
    release: z.string().optional(),
    services: z.array(writtenSchema),
    left: z.array(leftSchema).describe('Services that were to go back, and have nothing to go back to.'),
  }),
  run: async (api, call, body) => {
    const subject = subjectOf(api, param(call, 'ref'))
    if (subject.kind === 'service') {
      const { service } = subject
      const spec = body.to === undefined ? previousOf(service) : namedSpec(api, service, body.to)
      return { services: [await write(api, call, service, spec)], left: [] }
    }
    const { targets, left } =
      body.to === undefined
        ? beforeLastRelease(api, subject.name, subject.services)
        : atRelease(api, subject.name, subject.services, body.to)
    const number = nextReleaseNumber(api.cluster.view(), subject.name)
    const release = releaseId(number, body.release ?? randomInt(36 ** 5, 36 ** 6).toString(36))
    const services = await allWritten(
      targets,
      ({ service }) => service.name,
      ({ service, spec }) => write(api, call, service, releasedAs(spec, release)),
    )
    return { release, services, left: [...left] }
  },
})

async function write(api: Api, call: Call, service: Service, spec: ServiceSpec): Promise<Written> {
  const { cluster } = api
  const author = authorOf(api, call)
  const { resource, warnings } = await cluster.update(
    'service',
    service.id,
    service.versionIndex,
    spec,
    author,
    'rollback',
    triedAgain,
  )
  const { id, name, versionIndex: version } = resource
  return { id, name, version, change: 'updated', warnings: [...warnings] }
}

/** As `docker service rollback` does: a second one undoes the first. */
function previousOf(service: Service): ServiceSpec {
  refuseIfGoneBack(service, service.name)
  if (service.previous === undefined) throw new RollbackUnavailableError(service.name)
  return service.previous
}

function refuseIfGoneBack({ name, failure }: Service, subject: string): void {
  if (failure === undefined) return
  throw badRequest(
    `service ${name} went back by itself from its last change: there is nothing to roll back. What to go back to instead is named with --to ("moot history ${subject}" shows the numbers)`,
  )
}

function namedSpec(api: Api, service: Service, to: string): ServiceSpec {
  const writes = api.cluster.history('service', service.id).filter(({ action }) => action !== 'fact')
  const found = writes.filter(({ number, heads }) =>
    /^\d{1,9}$/.test(to) ? number === Number(to) : heads[0]?.startsWith(to) === true,
  )
  const [only] = found
  if (only === undefined) {
    const newest = Math.max(0, ...writes.map(({ number }) => number))
    throw badRequest(`service ${service.name} has no change ${to}: its changes are numbered 1 to ${newest}`)
  }
  if (found.length > 1)
    throw ambiguous(
      to,
      found.map(({ heads }) => (heads[0] ?? '').slice(0, 12)),
    )
  if (isSame(only.spec, service.spec))
    throw badRequest(`service ${service.name} is already what change ${to} made it`)
  return only.spec
}

function ambiguous(to: string, ids: readonly string[]): Error {
  return badRequest(
    `${to} is ambiguous: written at once on two sides of a partition: say ${ids.join(' or ')}`,
  )
}

/** What the newest release changed, as it was before. */
function beforeLastRelease(api: Api, stack: string, services: readonly Service[]): Plan {
  const labels = services.map(({ spec }) => releaseOf(spec))
  const newest = Math.max(0, ...labels.map(releaseNumber))
  const ids = [...new Set(labels.filter((id) => newest > 0 && releaseNumber(id) === newest))]
  const [id] = ids
  if (id === undefined) {
    throw badRequest(
      `no release of ${stack} is known (was it deployed with --no-atomic, or by docker?): roll its services back one by one`,
    )
  }
  if (ids.length > 1) throw ambiguous(String(newest), ids.map(String))
  const changed = services.filter(({ spec }) => releaseOf(spec) === id)
  for (const service of services) if (isUndone(service, newest)) refuseIfGoneBack(service, stack)
  return planOf(
    stack,
    changed.map((service) => {
      const history = api.cluster.history('service', service.id)
      return { service, spec: beforeFirst(service, history, ({ release }) => release === id) }
    }),
  )
}

/** It went back by itself from a release as new as this. */
function isUndone({ failure }: Service, number: number): boolean {
  const releases = [
    ...(failure?.releases ?? []),
    ...(failure?.release === undefined ? [] : [failure.release.id]),
  ]
  return releases.some((release) => releaseNumber(release) >= number)
}

/** The stack as this release left it: newer ones are undone, and what was changed by hand on top of it. */
function atRelease(api: Api, stack: string, services: readonly Service[], to: string): Plan {
  const number = releaseNumber(`${to}-`)
  const isNamed = ({ release }: ReleaseWrite): boolean => release === to || `${releaseNumber(release)}` === to
  const known = services.map((service) => {
    const history = api.cluster.history('service', service.id)
    return { service, history, writes: releaseWrites(history) }
  })
  const ids = new Set(known.flatMap(({ writes }) => writes.filter(isNamed).map(({ release }) => release)))
  if (ids.size === 0)
    throw badRequest(`stack ${stack} has no release ${to}: "moot history ${stack}" shows them`)
  if (ids.size > 1) throw ambiguous(to, [...ids])
  return planOf(
    stack,
    known.map(({ service, history, writes }) => {
      const isNewer = ({ release }: ReleaseWrite): boolean => releaseNumber(release) > number
      if (writes.some(isNewer)) return { service, spec: beforeFirst(service, history, isNewer) }
      return { service, spec: writes.find(isNamed)?.entry.spec ?? service.spec }
    }),
  )
}

function beforeFirst(
  service: Service,
  history: readonly Entry[],
  isUndone: (write: ReleaseWrite) => boolean,
): ServiceSpec | undefined {
  const first = releaseWrites(history).find(isUndone)
  return first === undefined ? undefined : specBefore(service, history, first)
}

function planOf(
  stack: string,
  wanted: readonly { readonly service: Service; readonly spec: ServiceSpec | undefined }[],
): Plan {
  const targets = wanted.flatMap(({ service, spec }) =>
    spec === undefined || isSame(spec, service.spec) ? [] : [{ service, spec }],
  )
  const left = wanted.flatMap(({ service, spec }) =>
    spec === undefined ? [{ name: service.name, why: 'it did not exist before' }] : [],
  )
  if (targets.length === 0) {
    const why =
      left.length === 0
        ? 'it is that already'
        : left.map(({ name, why: each }) => `${name}: ${each}`).join(', ')
    throw badRequest(`stack ${stack} has nothing to go back to: ${why}`)
  }
  return { targets, left }
}
