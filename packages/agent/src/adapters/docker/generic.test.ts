import { expect, test } from 'vitest'
import { TaskRejectedError } from '../../ports/engine.errors.ts'
import { assignResources, resourceEnv } from './generic.ts'

const gpus = [
  { kind: 'gpu', value: ['a', 'b', 'c'] },
  { kind: 'ssd', value: 4 },
]
const need = (Kind: string, Value: number) => ({ DiscreteResourceSpec: { Kind, Value } })

test('a count of a kind that has names takes the first that no other container holds', () => {
  const assigned = assignResources([need('gpu', 2), need('ssd', 1)], gpus, [{ gpu: ['a'], ssd: 3 }])
  expect(assigned).toEqual({ gpu: ['b', 'c'], ssd: 1 })
  expect(resourceEnv(assigned)).toEqual(['DOCKER_RESOURCE_GPU=b,c', 'DOCKER_RESOURCE_SSD=1'])
})

test('fewer free than needed rejects the task with the figures', () => {
  const assign = () => assignResources([need('gpu', 2)], gpus, [{ gpu: ['a', 'b'] }])
  expect(assign).toThrow(TaskRejectedError)
  expect(assign).toThrow('needs 2 of "gpu", this node has 1 free')
})

test('named reservations of one kind are all given', () => {
  const named = (Value: string) => ({ NamedResourceSpec: { Kind: 'gpu', Value } })
  expect(assignResources([named('a'), named('c')], gpus, [])).toEqual({ gpu: ['a', 'c'] })
})
