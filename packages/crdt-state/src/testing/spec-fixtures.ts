import { generateIdentity } from '../identity.ts'
import { memoryStorage, type MemoryStorage } from '../memory-storage.ts'
import { serviceSpecSchema, type ServiceSpec } from '../schema/service.ts'
import type { Author, Resource, SpecMessage, SpecStore } from '../spec-store.ts'
import { openSpecStore, type SpecStoreOptions } from '../specs/open-spec-store.ts'

export const clusterId = 'testcluster'
export const author: Author = { node: 'node-1', client: 'docker/28', atMs: 1_700_000_000_000 }

let actors = 0
/** Distinct, and the same in each run. */
export function newActor(): string {
  actors += 1
  return actors.toString(16).padStart(8, '0').repeat(4)
}

export interface OpenedSpecs {
  readonly store: SpecStore
  readonly storage: MemoryStorage
  readonly options: SpecStoreOptions
  reopen(): Promise<OpenedSpecs>
}

export async function openSpecs(given: Partial<SpecStoreOptions> = {}): Promise<OpenedSpecs> {
  const storage = (given.storage as MemoryStorage | undefined) ?? memoryStorage()
  const options: SpecStoreOptions = {
    identity: generateIdentity().identity,
    clusterId,
    newActor,
    onError: (error) => {
      throw error
    },
    ...given,
    storage,
  }
  const store = await openSpecStore(options)
  return { store, storage, options, reopen: () => openSpecs(options) }
}

export function serviceSpec(
  change: Partial<ServiceSpec> & { image?: string; replicas?: number } = {},
): ServiceSpec {
  const { image = 'nginx:1', replicas = 1, ...rest } = change
  return serviceSpecSchema.parse({
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: image } },
    Mode: { Replicated: { Replicas: replicas } },
    ...rest,
  })
}

export function scaled({ spec }: Resource<ServiceSpec>, replicas: number): ServiceSpec {
  return { ...spec, Mode: { Replicated: { Replicas: replicas } } }
}

export function withImage({ spec }: Resource<ServiceSpec>, image: string): ServiceSpec {
  const { TaskTemplate } = spec
  const ContainerSpec = { ...TaskTemplate.ContainerSpec, Image: image }
  return { ...spec, TaskTemplate: { ...TaskTemplate, ContainerSpec } }
}

/** One round of anti-entropy, `from` asking `to`, as the agent does it. */
export async function sync(from: SpecStore, to: SpecStore): Promise<void> {
  const mine = from.digest()
  const theirs = to.digest()
  if (mine.root === theirs.root) return
  const buckets = mine.buckets.flatMap((hash, bucket) => (hash === theirs.buckets[bucket] ? [] : [bucket]))
  const { send, want } = to.diff(buckets, from.entries(buckets))
  await from.receive(overTheWire(send))
  await to.receive(overTheWire(from.fetch(want)))
}

/** Messages are plain JSON: nothing else crosses. */
export function overTheWire<T>(messages: T): T {
  return JSON.parse(JSON.stringify(messages)) as T
}

export async function deliver(
  messages: readonly SpecMessage[],
  ...stores: readonly SpecStore[]
): Promise<void> {
  for (const store of stores) await store.receive(overTheWire(messages))
}
