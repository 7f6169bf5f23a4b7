import { type Resource, releaseOf, type ServiceSpec } from '@moot/crdt-state'
import * as z from 'zod'
import { type Api, param } from '../call.ts'
import { allTasks, taskCounts, updateStatus } from '../task-view.ts'
import { operation, type Operation } from './operation.ts'
import { servicesOf, subjectForm, subjectOf } from './subject.ts'

const outcomeSchema = z.object({
  id: z.string(),
  name: z.string(),
  version: z.number().describe("Docker's Version.Index."),
  running: z.number(),
  desired: z.number(),
  release: z.string().optional().describe('The release that changed it last.'),
  update: z
    .object({ state: z.string(), message: z.string() })
    .optional()
    .describe("Docker's UpdateStatus; none where it was never updated."),
  failure: z
    .object({
      task: z.string(),
      error: z.string().optional().describe('What that task said at its end, while a node remembers it.'),
      atMs: z.number(),
      release: z
        .object({ id: z.string(), service: z.string() })
        .optional()
        .describe('It has not failed itself: it goes back with this release, of which this service failed.'),
    })
    .optional()
    .describe('Its update has failed, and it goes back, or has gone back.'),
})

export const outcomeOperation: Operation = operation({
  method: 'GET',
  path: '/outcome/:ref',
  summary: `How far the last change has come, and whether it went back: of ${subjectForm}`,
  answer: z.array(outcomeSchema),
  run: (api, call) => servicesOf(subjectOf(api, param(call, 'ref'))).map((each) => outcomeOf(api, each)),
})

function outcomeOf(api: Api, service: Resource<ServiceSpec>): z.infer<typeof outcomeSchema> {
  const { RunningTasks, DesiredTasks } = taskCounts(api, service)
  const status = updateStatus(api, service)
  const release = releaseOf(service.spec)
  return {
    id: service.id,
    name: service.name,
    version: service.versionIndex,
    running: RunningTasks,
    desired: DesiredTasks,
    ...(release !== undefined && { release }),
    ...(status !== undefined && { update: { state: status.State, message: status.Message } }),
    ...failureShape(api, service),
  }
}

function failureShape(
  api: Api,
  { failure }: Resource<ServiceSpec>,
): Pick<z.infer<typeof outcomeSchema>, 'failure'> {
  if (failure === undefined) return {}
  const { task, atMs, release } = failure
  const error = allTasks(api).find((shown) => shown.task.id === task)?.task.error
  return {
    failure: {
      task,
      atMs,
      ...(error !== undefined && error !== '' && { error }),
      ...(release !== undefined && { release }),
    },
  }
}
