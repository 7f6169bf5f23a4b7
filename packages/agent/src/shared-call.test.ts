import { expect, test } from 'vitest'
import { waitFor } from './shared-call.ts'

test('the failure of what nobody waits for any more ends nothing', async () => {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => {
    unhandled.push(reason)
  }
  process.on('unhandledRejection', note)
  const { promise, reject } = Promise.withResolvers<string>()
  await expect(waitFor(promise, AbortSignal.abort(new Error('gave up')))).rejects.toThrow('gave up')
  reject(new Error('no engine'))
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})
