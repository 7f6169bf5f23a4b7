import { existsSync, readdirSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Bed } from '../../scripts/bed/hosts.ts'
import { isAlive, processesInNetwork } from '../../scripts/bed/processes.ts'
import { CommandFailed, run } from '../../scripts/bed/shell.ts'
import { askJson } from '../../scripts/bed/socket-http.ts'

/** The other e2e tests believe what the bed says; here is what it says of itself. */

const bed = new Bed('selftest')
const unusedPort = '9'

beforeAll(async () => {
  await bed.down()
  await bed.up(3, { withoutAgent: true })
})
afterAll(() => bed.down())

function inside(index: number, ...command: string[]): Promise<string> {
  const pid = bed.host(index).program('init')?.main.pid
  return run('nsenter', ['--target', String(pid), '--net', '--', ...command])
}

/**
 * Three packets, one of which must come back: the first may still be given up with the neighbour's entry that the kernel
 * made while the cable was out.
 */
async function reaches(from: number, address: string): Promise<boolean> {
  try {
    await inside(from, 'busybox', 'ping', '-c', '3', '-i', '0.3', '-W', '1', address)
    return true
  } catch (error) {
    if (error instanceof CommandFailed) return false
    throw error
  }
}

/** What a peer meets on a port where nothing listens. */
async function connecting(from: number, address: string): Promise<string> {
  return inside(from, 'busybox', 'nc', '-w', '2', address, unusedPort).catch(
    (error: CommandFailed) => error.stderr,
  )
}

test('a host without a listener refuses, a host without power is silent', async () => {
  expect(await connecting(1, '10.99.0.2')).toContain('refused')
  await bed.kill(2)
  expect(await connecting(1, '10.99.0.2')).not.toContain('refused')
  expect(await reaches(1, '10.99.0.2')).toBe(false)
  await bed.start(2)
  expect(await reaches(1, '10.99.0.2')).toBe(true)
})

test('each side of a partition reaches its own and the gateway, and nobody else', async () => {
  await bed.partition([[1, 2], [3]])
  const reached = await Promise.all([
    reaches(1, '10.99.0.2'),
    reaches(1, '10.99.0.3'),
    reaches(3, '10.99.0.1'),
    reaches(1, '10.99.0.254'),
    reaches(3, '10.99.0.254'),
  ])
  expect(reached).toEqual([true, false, false, true, true])
  await bed.heal()
  expect(await reaches(3, '10.99.0.1')).toBe(true)
})

test('a host whose cable is pulled loses its gateway too', async () => {
  await bed.cut(3)
  expect(await reaches(3, '10.99.0.254')).toBe(false)
  await bed.heal(3)
  expect(await reaches(3, '10.99.0.254')).toBe(true)
})

test('a host starts again with the images that it had', async () => {
  await bed.kill(1)
  await bed.start(1, { withoutAgent: true })
  const images = await askJson<{ RepoTags: string[] }[]>(
    bed.host(1).place.engineSocket,
    'GET',
    '/images/json',
  )
  const tags = images.flatMap((image) => image.RepoTags).sort()
  expect(tags).toEqual(['1', '2', 'bad', 'healthy', 'sick'].map((tag) => `moot/test:${tag}`))
})

test('down leaves no process, namespace, cgroup or folder, whether hosts are on or off', async () => {
  const namespaces = bed.hosts().map((host) => host.place.networkNamespacePath)
  const processes = namespaces.flatMap(processesInNetwork)
  expect(processes.length).toBeGreaterThan(6)
  await bed.kill(2)
  await bed.down()
  expect(processes.filter(isAlive)).toEqual([])
  expect(readdirSync('/run/netns').filter((name) => name.startsWith(bed.place.name))).toEqual([])
  expect(await run('find', ['/sys/fs/cgroup', '-type', 'd', '-name', bed.place.name])).toBe('')
  expect(existsSync(bed.place.directory)).toBe(false)
})
