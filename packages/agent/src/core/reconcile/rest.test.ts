import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { moveFact, partitionLabel, taskStates, type TaskEntry } from '@moot/crdt-state'
import type { HealthStanding } from '../health/standing.ts'
import { labelTerm } from '../lease/contract.ts'
import type { LeaseStatus } from '../lease/lease-status.ts'
import { place } from '../placement/place.ts'
import { reconcile, type ReconcileInput, type ReconcileOutput } from './reconcile.ts'
import {
  after,
  containerFor,
  containerIdOf,
  inputOf,
  other,
  recordOf,
  self,
  serviceOf,
  taskOf,
  withImage,
  type Scene,
} from './testing.ts'

const old = serviceOf('web', { Mode: { Replicated: { Replicas: 2 } } })
const newer = withImage(old, 'web:2')

/** Any record at all with any containers: also such as no agent would have come to. */
const anyTask = fc.record({
  node: fc.constantFrom(self, self, other),
  slot: fc.integer({ min: 1, max: 3 }),
  attempt: fc.integer({ min: 1, max: 4 }),
  updated: fc.boolean(),
  state: fc.constantFrom(
    'assigned',
    'preparing',
    'ready',
    'starting',
    'running',
    'complete',
    'failed',
    'shutdown',
  ),
  desired: fc.constantFrom('ready', 'running', 'shutdown', 'remove'),
  container: fc.constantFrom(undefined, 'created', 'running', 'exited'),
  exitCode: fc.integer({ min: 0, max: 1 }),
  seenEpoch: fc.integer({ min: 0, max: 1 }),
  health: fc.constantFrom('none', 'starting', 'healthy', 'unhealthy'),
  standing: fc.constantFrom(undefined, 'starting', 'well', 'unready', 'ill'),
  illness: fc.constantFrom(undefined, undefined, 'waiting', 'held', 'stopping'),
  isUnready: fc.boolean(),
  balance: fc.constantFrom(undefined, undefined, 'leaving', 'staying'),
  fence: fc.constantFrom(undefined, 6, 7),
} as const)
const anyScene = fc.record({
  tasks: fc.array(anyTask, { maxLength: 6 }),
  synced: fc.boolean(),
  start: fc.boolean(),
  /** Attempts that are to move for the sake of evenness, in each slot and on both nodes. */
  asked: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 4 }),
  label: fc.constantFrom(undefined, undefined, 'exclusive', 'available'),
  isReady: fc.boolean(),
  lease: fc.constantFrom<LeaseStatus>(
    { kind: 'none' },
    { kind: 'waiting' },
    { kind: 'held', fence: 7, deadlineMs: 2_000_000 },
    { kind: 'loosened', term: labelTerm(1, 2) },
  ),
})

function sceneOf(drawn: typeof anyScene extends fc.Arbitrary<infer T> ? T : never): Scene {
  const order = drawn.start ? 'start-first' : 'stop-first'
  const moves = drawn.asked.flatMap((attempt) =>
    [1, 2, 3].flatMap((slot) =>
      [self, other].map((from) => moveFact({ slot, attempt, from, asked: 1 + (attempt % 2) })),
    ),
  )
  const Labels: Record<string, string> = drawn.label === undefined ? {} : { [partitionLabel]: drawn.label }
  const service = {
    ...newer,
    facts: new Map(moves),
    spec: { ...newer.spec, Labels, UpdateConfig: { Parallelism: 1, Order: order } as const },
    ...(drawn.label !== undefined && { partition: { changes: 2, wasExclusive: true } }),
  }
  const mine: TaskEntry[] = []
  const theirs: TaskEntry[] = []
  const containers = []
  const health: Record<string, HealthStanding> = {}
  for (const [index, task] of drawn.tasks.entries()) {
    const { slot, attempt, state, desired, seenEpoch, standing } = task
    const id = `task${index}` as TaskEntry['id']
    const told = { sinceMs: 999_500, why: 'it is' }
    const entry = taskOf(task.updated ? service : old, {
      id,
      slot,
      attempt,
      state,
      desired,
      seenEpoch,
      ...(task.illness !== undefined && { illness: { kind: task.illness, ...told } }),
      ...(task.balance !== undefined && {
        balance: { kind: task.balance, asked: 1, sinceMs: 999_500, shares: [slot] },
      }),
      ...(task.isUnready && { unready: told }),
      ...(task.fence !== undefined && { fence: task.fence, leased: `web.${slot}` }),
    })
    if (standing !== undefined) health[containerIdOf(id)] = { kind: standing, why: 'it says so' }
    if (task.node === other) theirs.push(entry)
    else {
      mine.push(entry)
      const { exitCode, health: itsHealth } = task
      if (task.container !== undefined)
        containers.push(containerFor(entry, task.container, { exitCode, health: itsHealth }))
    }
  }
  const others = [recordOf(other, { tasks: theirs })]
  return {
    services: [service],
    history: [old],
    tasks: mine,
    others,
    containers,
    health,
    leases: { isReady: drawn.isReady, status: () => drawn.lease, explain: () => 'so it is' },
    synced: drawn.synced,
  }
}

function withPlacement(scene: Scene): ReconcileInput {
  const input = inputOf(scene)
  const { services, records } = input.view
  const settings = (id: string) => ({
    ...old,
    name: id,
    spec: { Labels: {}, Role: 'manager', Availability: 'active', PublicKey: '', Addresses: [] },
  })
  const nodes = new Map(
    [...records].map(([id, record]) => [
      id,
      { id, record, settings: settings(id), liveness: { kind: 'alive' } },
    ]),
  )
  return { ...input, placement: place({ services, nodes } as unknown as Parameters<typeof place>[0]) }
}

function isQuiet(output: ReconcileOutput): boolean {
  return output.changes.size === 0 && output.actions.length === 0
}

test('from any record it comes to rest in a few calls, says the same twice, and takes no state back', () => {
  fc.assert(
    fc.property(anyScene, (drawn) => {
      let scene = sceneOf(drawn)
      for (let call = 0; call < 12; call += 1) {
        const input = withPlacement(scene)
        const output = reconcile(input)
        expect(reconcile(input)).toEqual(output)
        if (isQuiet(output)) return
        const inFlight = new Set(scene.inFlight)
        for (const { task } of output.actions) expect(inFlight.has(task)).toBe(false)
        const next = after(scene, output)
        for (const task of next.tasks) {
          const before = scene.tasks.find((known) => known.id === task.id)
          const step = taskStates.indexOf(task.state) - taskStates.indexOf(before?.state ?? 'new')
          expect(step).toBeGreaterThanOrEqual(0)
        }
        scene = next
      }
      throw new Error('it does not come to rest')
    }),
    { numRuns: 500 },
  )
})
