import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { ContainerProcesses } from './processes.ts'

test('a process that lived has ended once it is gone', async () => {
  const child = spawn('sleep', ['60'])
  const pid = child.pid!
  const processes = new ContainerProcesses()
  processes.look([pid])
  expect(processes.hasEnded(pid)).toBe(false)
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(processes.hasEnded(pid)).toBe(true)
})

test('of processes of another pid namespace nothing is said', () => {
  const processes = new ContainerProcesses(() => false)
  processes.look([4242])
  expect(processes.hasEnded(4242)).toBe(false)
})
