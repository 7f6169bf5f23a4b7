import { existsSync } from 'node:fs'
import { mkdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { removeCgroup, removeCgroupIfEmpty } from '../bed/cgroup.ts'
import type { Member } from '../bed/form-cluster.ts'
import { PathTooLong, repository } from '../bed/place.ts'
import { attempt, run, waitUntil } from '../bed/shell.ts'
import { ask } from '../bed/socket-http.ts'

/** The three nodes of docker-compose.yml, as the machine sees them. */
export interface ComposeNode {
  readonly name: string
  readonly container: string
  readonly socket: string
  /** Where hello's port 8080 of that node is published on the machine. */
  readonly url: string
  /** Where the guestbook's port 8000, which every node answers on, is. */
  readonly guestbookUrl: string
}

const project = 'moot'
const bedDirectory = join(repository, '.bed')
const bedCgroup = '/moot/bed'

export const composeNodes: readonly ComposeNode[] = [1, 2, 3].map((index) => ({
  name: `node${index}`,
  container: `moot-node${index}`,
  socket: join(bedDirectory, `node${index}`, 'moot.sock'),
  url: `http://127.0.0.1:${8080 + index}/`,
  guestbookUrl: `http://127.0.0.1:${8000 + index}/`,
}))

/** `docker compose` where there is one, else Debian's `docker-compose`. */
async function compose(...args: string[]): Promise<string> {
  const plugin = (await attempt('docker', ['compose', 'version'])) !== undefined
  const [command, first] = plugin ? ['docker', ['compose']] : ['docker-compose', []]
  const file = join(repository, 'docker-compose.yml')
  return run(command, [...first, '--project-name', project, '--file', file, ...args], {
    cwd: repository,
    env: { ...process.env, MOOT_BED_CGROUP: bedCgroup },
    timeoutMs: 180_000,
  })
}

export async function startNodes(): Promise<void> {
  for (const { socket } of composeNodes) {
    if (Buffer.byteLength(socket) > 100) throw new PathTooLong(socket)
    await mkdir(join(socket, '..'), { recursive: true })
  }
  await compose('up', '--detach', '--no-build')
}

/** The agent of a node answers; where its container has ended instead, its last words are the error. */
export async function nodeAnswers(node: ComposeNode): Promise<void> {
  await waitUntil(
    `${node.name}'s agent answers (docker logs ${node.container})`,
    async () => {
      const running = await attempt('docker', ['inspect', '--format', '{{.State.Running}}', node.container])
      if (running?.trim() !== 'true') {
        // Compose restarts nothing: this is for good.
        throw new Error(`its container does not run: ${await lastWords(node)}`)
      }
      await stat(node.socket)
      return (await ask(node.socket, 'GET', '/moot/v1/status', { timeoutMs: 3_000 })).status === 200
    },
    { timeoutMs: 90_000, intervalMs: 200 },
  )
}

async function lastWords(node: ComposeNode): Promise<string> {
  return (await attempt('sh', ['-c', `docker logs --tail 15 ${node.container} 2>&1`])) ?? 'there is none'
}

export async function memberOf(node: ComposeNode): Promise<Member> {
  const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}'
  const address = (await run('docker', ['inspect', '--format', format, node.container])).trim()
  return { name: node.name, socket: node.socket, advertise: address }
}

/** The stock docker CLI against one node's agent. */
export async function dockerAt(node: ComposeNode, ...args: string[]): Promise<string> {
  return run('docker', ['-H', `unix://${node.socket}`, ...args], { cwd: repository })
}

/** Containers, networks, volumes, inner cgroups, sockets. Also when only some of it is there. */
export async function removeNodes(): Promise<void> {
  const engineAnswers = (await attempt('docker', ['version'])) !== undefined
  if (engineAnswers) await compose('down', '--volumes', '--remove-orphans', '--timeout', '5')
  if (existsSync('/sys/fs/cgroup')) {
    await removeCgroup(bedCgroup)
    removeCgroupIfEmpty('/moot')
  }
  await rm(bedDirectory, { recursive: true, force: true })
}
