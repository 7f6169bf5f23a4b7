import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { bootMemory } from '../../packages/agent/src/adapters/boot-memory.ts'
import { memoryBootMemory } from '../../packages/agent/src/ports/boot-memory.memory.ts'
import type { BootMemory } from '../../packages/agent/src/ports/boot-memory.ts'

const directory = mkdtempSync(join(tmpdir(), 'moot-boot-'))
const path = join(directory, 'agent', 'granted')

afterAll(() => rmSync(directory, { recursive: true }))

describe.for<[string, () => BootMemory]>([
  ['in memory', memoryBootMemory],
  ['a file', () => bootMemory(path)],
])('%s', ([, open]) => {
  test('what was written last is read, by a next process too, until it is forgotten', async () => {
    const memory = open()
    expect(memory.read()).toBeUndefined()
    await memory.write('one')
    await memory.write('two\nlines')
    expect(memory.read()).toBe('two\nlines')
    memory.forget()
    expect(memory.read()).toBeUndefined()
  })
})

test('a file of another boot tells nothing', async () => {
  await bootMemory(path, 'boot 1').write('granted')
  expect(bootMemory(path, 'boot 1').read()).toBe('granted')
  expect(bootMemory(path, 'boot 2').read()).toBeUndefined()
})

test('a file that is not as it was written tells nothing', async () => {
  await bootMemory(path).write('granted to node1')
  writeFileSync(path, readFileSync(path, 'utf8').replace('node1', 'node2'))
  expect(bootMemory(path).read()).toBeUndefined()
  writeFileSync(path, '')
  expect(bootMemory(path).read()).toBeUndefined()
})
