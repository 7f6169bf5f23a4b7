import {
  type HistoryEntry,
  type NodeId,
  releaseNumber,
  releaseOf,
  type Resource,
  type ServiceSpec,
} from '@moot/crdt-state'
import * as z from 'zod'
import { type Api, param } from '../call.ts'
import { nodeDisplayName } from '../../core/view.ts'
import { wordsOfChange, wordsOfCreation, wordsOfFacts } from './change-words.ts'
import { operation, type Operation } from './operation.ts'
import { releaseWrites } from './release-history.ts'
import { authorSchema, authorShape } from './shapes.ts'
import { subjectForm, subjectOf } from './subject.ts'

type Entry = HistoryEntry<ServiceSpec>

const changeSchema = z.object({
  number: z
    .number()
    .optional()
    .describe(
      "A write's number in its service; of a stack, a release's. What may be gone back to; the others have none.",
    ),
  id: z.string().describe('Tells two of one number apart, which were written on two sides of a partition.'),
  author: authorSchema.optional(),
  nodeName: z.string().optional(),
  action: z.enum(['create', 'update', 'rollback', 'fact', 'release']),
  release: z.string().optional(),
  what: z.array(z.string()).describe('In words; of a stack, beginning with the service.'),
})
export type Change = z.infer<typeof changeSchema>

export const changesOperation: Operation = operation({
  method: 'GET',
  path: '/changes/:ref',
  summary: `Who changed what and when, in words, newest first: of ${subjectForm}`,
  answer: z.array(changeSchema),
  run: (api, call) => {
    const subject = subjectOf(api, param(call, 'ref'))
    if (subject.kind === 'service') return changesOf(api, subject.service).toReversed()
    return changesOfStack(
      subject.name,
      subject.services.map((service) => ({ service, changes: changesOf(api, service) })),
    )
  },
})

interface ServiceChange extends Change {
  /** It is part of the release, and not only written on top of it. */
  readonly isRelease: boolean
}

/** Oldest first. */
function changesOf(api: Api, service: Resource<ServiceSpec>): ServiceChange[] {
  const history = api.cluster.history('service', service.id)
  const releases = new Set(releaseWrites(history).map(({ index }) => index))
  return history.map((entry, index) => {
    const release = releaseOf(entry.spec)
    const isWrite = entry.action !== 'fact'
    return {
      ...(isWrite && { number: entry.number }),
      id: (entry.heads[0] ?? '').slice(0, 12),
      ...authorShape(entry.author),
      ...(entry.author !== undefined && {
        nodeName: nodeDisplayName(api.cluster.view(), entry.author.node as NodeId),
      }),
      action: entry.action,
      ...(isWrite && release !== undefined && { release }),
      what: [...whatOf(service, entry, history[index - 1])],
      isRelease: releases.has(index),
    }
  })
}

function whatOf(
  { facts }: Resource<ServiceSpec>,
  entry: Entry,
  before: Entry | undefined,
): readonly string[] {
  if (entry.action === 'fact') return wordsOfFacts(entry.facts, facts)
  if (before === undefined) return wordsOfCreation(entry.spec)
  const words = wordsOfChange(before.spec, entry.spec, new Set(entry.paths))
  return words.length === 0 ? ['as it was'] : words
}

/**
 * A release is one row, whatever it changed. The rows are sorted by the clocks of those who wrote them, for people to read:
 * the numbers are the releases' own, and do not depend on that. Of one millisecond the one that comes later in a history is the newer.
 */
function changesOfStack(
  stack: string,
  services: readonly { readonly service: Resource<ServiceSpec>; readonly changes: ServiceChange[] }[],
): Change[] {
  const rows = new Map<string, Change>()
  const places = new Map<Change, number>()
  for (const { service, changes } of services) {
    const name = shortName(stack, service.name)
    for (const [place, { isRelease, number: _, ...change }] of changes.entries()) {
      const what = change.what.map((each) => `${name}: ${each}`)
      const key = isRelease ? `release/${change.release}` : `${service.id}/${change.id}`
      const row = rows.get(key)
      if (row !== undefined) row.what.push(...what)
      else if (!isRelease) rows.set(key, { ...change, what })
      else {
        const number = releaseNumber(change.release)
        const action = change.action === 'rollback' ? 'rollback' : 'release'
        rows.set(key, { ...change, id: change.release ?? '', number, action, what })
      }
      const written = rows.get(key)
      if (written !== undefined) places.set(written, Math.max(places.get(written) ?? 0, place))
    }
  }
  const atMs = ({ author }: Change): number => author?.atMs ?? 0
  const placeOf = (change: Change): number => places.get(change) ?? 0
  return [...rows.values()].toReversed().toSorted((a, b) => atMs(b) - atMs(a) || placeOf(b) - placeOf(a))
}

/** As the Compose file calls it. */
function shortName(stack: string, service: string): string {
  return service.startsWith(`${stack}_`) ? service.slice(stack.length + 1) : service
}
