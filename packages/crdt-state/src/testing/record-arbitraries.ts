import * as fc from 'fast-check'
import type {
  ContainerId,
  GuestId,
  NodeId,
  ResourceId,
  ServiceId,
  SlotId,
  SpecDigest,
  TaskId,
  UpdateKey,
} from '../ids.ts'
import {
  type Alert,
  type BlockClaims,
  type GuestEntry,
  type NodeStatus,
  type RecordKey,
  recordKey,
  type Rejection,
  type TaskEntry,
  taskStates,
  type UpdateFacts,
} from '../record.ts'
import { anyText } from './any-text.ts'

const text = anyText(6)
const texts = fc.array(text, { maxLength: 3 })
const amount = fc.nat({ max: 2 ** 40 })
const labels = fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true })
const id = fc.stringMatching(/^[0-9a-z]{25}$/)
const service = id as fc.Arbitrary<ServiceId>
const node = id as fc.Arbitrary<NodeId>
const network = id as fc.Arbitrary<ResourceId>
const digest = text as fc.Arbitrary<SpecDigest>

const task: fc.Arbitrary<TaskEntry> = fc.record(
  {
    id: id as fc.Arbitrary<TaskId>,
    service,
    slot: fc.oneof(fc.integer({ min: 1 }), node),
    attempt: fc.integer({ min: 1 }),
    digest,
    serviceVersion: amount,
    desired: fc.constantFrom('ready' as const, 'running' as const, 'shutdown' as const, 'remove' as const),
    state: fc.constantFrom(...taskStates),
    seenEpoch: amount,
    createdAtMs: amount,
    stateAtMs: amount,
    message: text,
    error: text,
    unready: fc.record({ sinceMs: amount, why: text }),
    illness: fc.record({
      kind: fc.constantFrom('waiting' as const, 'held' as const, 'stopping' as const),
      sinceMs: amount,
      why: text,
    }),
    exitCode: fc.integer(),
    containerId: id as fc.Arbitrary<ContainerId>,
    pid: amount,
    ports: fc.array(fc.record({ protocol: text, target: amount, published: amount }), { maxLength: 2 }),
    addresses: fc.array(
      fc.record({ network: text, address: text, id: network }, { requiredKeys: ['network', 'address'] }),
      { maxLength: 2 },
    ),
    assumed: texts as unknown as fc.Arbitrary<SlotId[]>,
    constraints: texts,
    leaves: fc.record({ update: digest as fc.Arbitrary<string> as fc.Arbitrary<UpdateKey>, reason: text }),
    restart: fc.record(
      {
        count: amount,
        windowStartMs: amount,
        notBeforeMs: amount,
        total: amount,
        recentMs: fc.array(amount, { maxLength: 2 }),
        afterIllness: fc.constant(true as const),
      },
      { requiredKeys: ['count', 'windowStartMs', 'notBeforeMs'] },
    ),
    fence: amount,
    leased: text,
    lostLease: fc.constant(true as const),
    done: fc.constant(true as const),
  },
  {
    requiredKeys: [
      'id',
      'service',
      'slot',
      'attempt',
      'digest',
      'serviceVersion',
      'desired',
      'state',
      'createdAtMs',
      'stateAtMs',
    ],
  },
)

const status: fc.Arbitrary<NodeStatus> = fc.record(
  {
    hostname: text,
    addresses: texts,
    meshAddresses: texts,
    agentVersion: text,
    rules: fc.array(amount, { maxLength: 2 }),
    engine: fc.oneof(
      fc.record({ state: fc.constant('up' as const), version: text, apiVersion: text, bootId: text }),
      fc.record({ state: fc.constant('down' as const), error: text }),
    ),
    platform: fc.record({ os: text, architecture: text }),
    capacity: fc.record({
      nanoCpus: amount,
      memoryBytes: amount,
      generic: fc.array(fc.record({ kind: text, value: fc.oneof(amount, texts) }), { maxLength: 2 }),
      maxTasks: amount,
    }),
    engineLabels: labels,
    plugins: fc.array(fc.record({ type: text, name: text }), { maxLength: 2 }),
    volumes: texts,
    seat: fc.record({ disk: text, epoch: amount }),
    wireGuard: fc.record(
      {
        keys: fc.array(fc.record({ round: fc.nat(), key: text }), { maxLength: 2 }),
        uses: fc.nat(),
      },
      { requiredKeys: ['keys'] },
    ),
  },
  {
    requiredKeys: [
      'hostname',
      'addresses',
      'meshAddresses',
      'agentVersion',
      'rules',
      'engine',
      'platform',
      'capacity',
      'engineLabels',
      'plugins',
      'volumes',
    ],
  },
)

const alert: fc.Arbitrary<Alert> = fc.record({
  target: node,
  evidence: fc.constantFrom(
    'suspected' as const,
    'silent' as const,
    'refused' as const,
    'judged' as const,
    'returned' as const,
  ),
  epoch: amount,
  seq: amount,
  sinceMs: amount,
})

const update: fc.Arbitrary<UpdateFacts> = fc.record({
  service,
  update: digest as fc.Arbitrary<string> as fc.Arbitrary<UpdateKey>,
  slots: fc.dictionary(
    fc.stringMatching(/^[0-9a-z]{1,25}$/),
    fc.record(
      {
        state: fc.constantFrom('begun' as const, 'ok' as const, 'failed' as const),
        atMs: amount,
        why: text,
      },
      { requiredKeys: ['state', 'atMs'] },
    ),
    { maxKeys: 3, noNullPrototype: true },
  ),
})

const rejection: fc.Arbitrary<Rejection> = fc.record({ service, digest, reason: text, atMs: amount })

const block: fc.Arbitrary<BlockClaims> = fc.record({
  network,
  subnet: text,
  blocks: fc.array(fc.nat(), { maxLength: 3 }),
})

const guest: fc.Arbitrary<GuestEntry> = fc.record(
  {
    id: id as fc.Arbitrary<GuestId>,
    network,
    address: text,
    aliases: texts,
    nameservers: texts,
    createdAtMs: amount,
    container: fc.record({ id: id as fc.Arbitrary<ContainerId>, name: text, isUp: fc.boolean() }),
  },
  { requiredKeys: ['id', 'network', 'address', 'aliases', 'nameservers', 'createdAtMs'] },
)

/** One entry of a record under its key, of each kind and with all that it may say. */
export const recordEntry: fc.Arbitrary<
  readonly [RecordKey, NodeStatus | TaskEntry | Alert | UpdateFacts | Rejection | BlockClaims | GuestEntry]
> = fc.oneof(
  { weight: 3, arbitrary: task.map((value) => [recordKey.task(value.id), value] as const) },
  status.map((value) => [recordKey.status, value] as const),
  alert.map((value) => [recordKey.alert(value.target), value] as const),
  update.map((value) => [recordKey.update(value.service), value] as const),
  rejection.map((value) => [recordKey.rejection(value.service), value] as const),
  block.map((value) => [recordKey.block(value.network), value] as const),
  guest.map((value) => [recordKey.guest(value.id), value] as const),
)
