import { slotId } from '@moot/crdt-state'
import { expect, test } from 'vitest'
import { inputOf, other, recordOf, runningTask, self, serviceOf } from './core/reconcile/testing.ts'
import { createDecisions } from './decisions.ts'
import { defaults } from './defaults.ts'
import { memoryClock } from './ports/clock.memory.ts'

const web = serviceOf('web')
const task = runningTask(web)
const slot = slotId(task.service, task.slot)
const ended = new Set([task.id])

test('what would follow is worked out once for each view and set of tasks, and disturbs nothing of what follows', () => {
  const scene = { services: [web], tasks: [task], engineDownForMs: 0 }
  let { view } = inputOf(scene)
  const decisions = createDecisions({
    viewOf: () => view,
    clock: memoryClock(),
    settings: defaults,
    changed: () => undefined,
  })
  const whatIf = decisions.whatIf()
  const alone = whatIf(decisions.now(), ended)
  expect(alone.slots.get(slot)).toMatchObject({ kind: 'pending' })
  expect(whatIf(decisions.now(), new Set(ended))).toBe(alone)
  expect(whatIf(decisions.now(), new Set()).slots.get(slot)).toMatchObject({ kind: 'held' })

  view = inputOf({ ...scene, others: [recordOf(other, {})] }).view
  expect(whatIf(decisions.now(), ended).slots.get(slot)).toMatchObject({
    kind: 'vacant',
    to: other,
    attempt: 2,
  })
  expect(decisions.now().placement.slots.get(slot)).toMatchObject({ kind: 'held', holder: { node: self } })
  decisions.stop()
})
