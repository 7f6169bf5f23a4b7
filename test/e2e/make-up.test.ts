import { existsSync } from 'node:fs'
import { afterAll, expect, test } from 'vitest'
import { repository } from '../../scripts/bed/place.ts'
import { attempt, run, waitUntil } from '../../scripts/bed/shell.ts'
import { helloAt } from '../../scripts/compose-bed/examples.ts'
import { composeNodes, dockerAt } from '../../scripts/compose-bed/nodes.ts'

/** The README's two commands, as a stranger types them. */

const coldTimeoutMs = 300_000
const warmTimeoutMs = 60_000

function make(target: string, timeoutMs: number): Promise<string> {
  // Not a part of the `make test` that runs us.
  const env = { ...process.env, MAKEFLAGS: undefined, MFLAGS: undefined, MAKELEVEL: undefined }
  return run('make', [target], { cwd: repository, env, timeoutMs })
}

const [first, second, third] = composeNodes as [
  (typeof composeNodes)[0],
  (typeof composeNodes)[0],
  (typeof composeNodes)[0],
]

afterAll(async () => {
  await make('down', 120_000)
}, 120_000)

test(
  'make up prints a URL for each of three ready nodes, and each answers with its node',
  async () => {
    const printed = await make('up', coldTimeoutMs)
    for (const node of composeNodes) {
      expect(printed).toContain(`${node.url}  is ${node.name}`)
      expect(printed).toContain(`${node.guestbookUrl}  the guestbook, through ${node.name}`)
      expect((await fetch(`${node.guestbookUrl}api`)).status).toBe(200)
      expect((await helloAt(node.url)).node).toBe(node.name)
      const table = await dockerAt(node, 'node', 'ls', '--format', '{{.Hostname}} {{.Status}}')
      expect(table.trim().split('\n').sort()).toEqual(['node1 Ready', 'node2 Ready', 'node3 Ready'])
    }
  },
  coldTimeoutMs,
)

test('a node that is powered off is healed by the others: its greeters run there', async () => {
  await run('docker', ['kill', third.container])
  const format = '{{.Node}} {{.CurrentState}}'
  const question = ['service', 'ps', '--filter', 'desired-state=running', '--format', format, 'hello_greeter']
  const running = await waitUntil(
    'three greeters run on node1 and node2',
    async () => {
      const tasks = await dockerAt(second, ...question)
      const elsewhere = tasks.split('\n').filter((line) => /^node[12] Running/.test(line))
      if (elsewhere.length >= 3) return elsewhere
      throw new Error(tasks)
    },
    { timeoutMs: 30_000, intervalMs: 200 },
  )
  expect(running).toHaveLength(3)
  await run('docker', ['start', third.container])
}, 60_000)

test(
  'make up again completes what is missing, in less than a minute',
  async () => {
    await dockerAt(first, 'stack', 'rm', 'hello')
    await make('up', warmTimeoutMs)
    for (const node of composeNodes) expect((await helloAt(node.url)).node).toBe(node.name)
  },
  warmTimeoutMs + 10_000,
)

test('make down leaves no container, socket or cgroup', async () => {
  await make('down', 120_000)
  expect(existsSync(`${repository}/.bed`)).toBe(false)
  expect(await attempt('find', ['/sys/fs/cgroup', '-maxdepth', '3', '-path', '*/moot/bed'])).toBe('')
  const left = (await attempt('docker', ['ps', '-aq', '--filter', 'name=moot-node'])) ?? ''
  expect(left).toBe('')
}, 120_000)
