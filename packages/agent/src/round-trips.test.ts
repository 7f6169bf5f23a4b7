import type { NodeId } from '@moot/crdt-state'
import { expect, test } from 'vitest'
import type { LivenessMap } from './core/membership/liveness.ts'
import { defaults } from './defaults.ts'
import type { ProbeResult } from './ports/mesh.ts'
import { roundTrips } from './round-trips.ts'

const [self, near, far, gone] = ['self', 'near', 'far', 'gone'] as [NodeId, NodeId, NodeId, NodeId]
const members: LivenessMap = new Map([
  [self, { kind: 'alive' }],
  [near, { kind: 'alive' }],
  [far, { kind: 'suspect', observers: [near] }],
  [gone, { kind: 'down', observers: [near] }],
])
const answered = (roundTripMs: number): ProbeResult => ({ kind: 'answered', roundTripMs })

/** Gives these answers in turn, and says whom it asked. */
function meshWith(answers: Readonly<Record<NodeId, readonly ProbeResult[]>>) {
  const asked: NodeId[] = []
  const probe = async (node: NodeId): Promise<ProbeResult> => {
    asked.push(node)
    return answers[node]?.[asked.filter((each) => each === node).length - 1] ?? { kind: 'silent' }
  }
  return { self, probe, asked }
}

const ask = (mesh: ReturnType<typeof meshWith>, signal = new AbortController().signal) =>
  roundTrips(mesh, members, defaults, signal)

test('the quickest of three answers counts; neither this node nor whoever is down is asked', async () => {
  const mesh = meshWith({ [near]: [answered(9), answered(0.4), answered(2)], [far]: [{ kind: 'refused' }] })
  expect(await ask(mesh)).toEqual(
    new Map([
      [near, answered(0.4)],
      [far, { kind: 'refused' }],
    ]),
  )
  expect(mesh.asked.toSorted()).toEqual([far, near, near, near])
})

test('an answer that is lost later takes back none', async () => {
  expect((await ask(meshWith({ [near]: [answered(9)] }))).get(near)).toEqual(answered(9))
})

test('nobody is asked for whoever has gone away', async () => {
  const mesh = meshWith({})
  await expect(ask(mesh, AbortSignal.abort(new Error('the client has gone')))).rejects.toThrow(/has gone/)
  expect(mesh.asked).toEqual([])
})
