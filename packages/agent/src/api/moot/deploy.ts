import {
  changedFields,
  NameTakenError,
  releaseId,
  releaseLabel,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  stackLabel,
  stackOf,
} from '@moot/crdt-state'
import * as z from 'zod'
import { type Api, authorOf, type Call, param } from '../call.ts'
import { answerFor, ApiError, badRequest } from '../errors.ts'
import { readServiceSpec } from '../service-spec/body.ts'
import { resumeUpdate } from '../service-spec/resume.ts'
import { triedAgain } from '../service-spec/tried-again.ts'
import { modeName } from '../services.ts'
import { operation, type Operation } from './operation.ts'
import { nextReleaseNumber } from './release-history.ts'

/** Far above what anybody deploys at once, and each is a write to the disk. */
const servicesMax = 1_000

/** Drawn by the client, so that a request that is repeated is the same release. */
export const distinctionSchema = z.string().regex(/^[a-z0-9]{4,20}$/, 'give 4 to 20 letters a-z and digits')

export const writtenSchema = z.object({
  id: z.string(),
  name: z.string(),
  version: z.number().describe("Docker's Version.Index after it."),
  change: z.enum(['created', 'updated', 'unchanged']),
  warnings: z.array(z.string()),
})
type Written = z.infer<typeof writtenSchema>

interface Planned {
  readonly service: Resource<ServiceSpec> | undefined
  readonly spec: ServiceSpec
  readonly warnings: readonly string[]
}

export const deployOperation: Operation = operation({
  method: 'POST',
  path: '/deploy/:stack',
  summary:
    'Create and update services of a stack, as one release: all are checked before the first is written',
  body: z.strictObject({
    release: distinctionSchema
      .optional()
      .describe(
        'Tells this release from others of its number. Without it each service has an outcome of its own.',
      ),
    services: z
      .array(z.looseObject({ Name: z.string().min(1) }).describe("Docker's ServiceSpec."))
      .min(1)
      .max(servicesMax),
  }),
  answer: z.object({
    release: z.string().optional().describe('Given to what it created and changed: the label moot.release.'),
    services: z.array(writtenSchema),
  }),
  run: deploy,
})

async function deploy(
  api: Api,
  call: Call,
  body: { readonly release?: string | undefined; readonly services: readonly { readonly Name: string }[] },
): Promise<{ release?: string; services: Written[] }> {
  const stack = param(call, 'stack')
  const planned = body.services.map((each) => planOf(api, stack, each))
  const names = planned.map(({ spec }) => spec.Name)
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice !== undefined) throw badRequest(`service ${twice} is given twice`)
  const release =
    body.release === undefined
      ? undefined
      : releaseId(nextReleaseNumber(api.cluster.view(), stack), body.release)
  const services = await allWritten(
    planned,
    ({ spec }) => spec.Name,
    (each) => write(api, call, each, release),
  )
  const isAny = services.some(({ change }) => change !== 'unchanged')
  return { ...(release !== undefined && isAny && { release }), services }
}

/** As `docker stack deploy` has it: a file says nothing of `--force`, and does not undo it. */
function forcedAs(service: Resource<ServiceSpec>, spec: ServiceSpec): ServiceSpec {
  const { ForceUpdate } = service.spec.TaskTemplate
  return ForceUpdate === undefined ? spec : { ...spec, TaskTemplate: { ...spec.TaskTemplate, ForceUpdate } }
}

function planOf(api: Api, stack: string, body: { readonly Name: string }): Planned {
  const view = api.cluster.view()
  try {
    const service = [...view.services.values()].find(({ name }) => name === body.Name)
    const { spec, warnings } = readServiceSpec(body, view, {
      ability: api.cluster.network().ability().kind,
      ...(service !== undefined && { service: service.id as ServiceId }),
      name: () => body.Name,
      maxReplicas: api.settings.maxReplicasPerService,
    })
    const { [releaseLabel]: _, ...labels } = spec.Labels
    const fresh = { ...spec, Labels: { ...labels, [stackLabel]: stack } }
    if (service === undefined) return { service, spec: fresh, warnings }
    if (stackOf(service.spec) !== stack) throw new NameTakenError('service', spec.Name)
    if (modeName(spec) !== modeName(service.spec)) throw badRequest('service mode change is not allowed')
    return { service, spec: forcedAs(service, fresh), warnings }
  } catch (error) {
    throw withName(error, body.Name, [])
  }
}

/** What it leaves as it is keeps its label: it is part of the release that changed it last. */
async function write(
  api: Api,
  call: Call,
  { service, spec, warnings }: Planned,
  release: string | undefined,
): Promise<Written> {
  const author = authorOf(api, call)
  if (service !== undefined && isSame(service.spec, spec)) {
    const { id, name, versionIndex: version } = service
    const resumed = await resumeUpdate(api, service, service.spec, author)
    return { id, name, version, change: 'unchanged', warnings: [...warnings, ...resumed] }
  }
  const asked = releasedAs(spec, release)
  const written =
    service === undefined
      ? await api.cluster.create('service', asked.Name, asked, author)
      : await api.cluster.update(
          'service',
          service.id,
          service.versionIndex,
          asked,
          author,
          'update',
          triedAgain,
        )
  const { id, name, versionIndex: version } = written.resource
  return {
    id,
    name,
    version,
    change: service === undefined ? 'created' : 'updated',
    warnings: [...warnings, ...written.warnings],
  }
}

export function releasedAs(spec: ServiceSpec, release: string | undefined): ServiceSpec {
  const { [releaseLabel]: _, ...labels } = spec.Labels
  return { ...spec, Labels: release === undefined ? labels : { ...labels, [releaseLabel]: release } }
}

/** But for the release. */
export function isSame(a: ServiceSpec, b: ServiceSpec): boolean {
  return changedFields(releasedAs(a, undefined), releasedAs(b, undefined)).size === 0
}

/** All at once: each waits for a peer to have it on its disk too, which takes seconds where there is none. */
export async function allWritten<T>(
  items: readonly T[],
  nameOf: (item: T) => string,
  run: (item: T) => Promise<Written>,
): Promise<Written[]> {
  const results = await Promise.allSettled(items.map(run))
  const done = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  for (const [at, result] of results.entries()) {
    const item = items[at]
    if (result.status === 'rejected' && item !== undefined) throw withName(result.reason, nameOf(item), done)
  }
  return done
}

/** A stack has many services: which one it is about, and which are written all the same. */
function withName(error: unknown, name: string, done: readonly { readonly name: string }[]): unknown {
  const known = answerFor(error)
  if (known === undefined) return error
  const rest = done.length === 0 ? '' : ` (written all the same: ${done.map((each) => each.name).join(', ')})`
  return new ApiError(known.status, `${name}: ${known.message}${rest}`)
}
