import type { ContainerId } from '@moot/crdt-state'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { compareVersions } from '../../packages/agent/src/adapters/docker/api-version.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { TaskRejectedError } from '../../packages/agent/src/ports/engine.errors.ts'
import { fieldRows, type FieldRow } from '../conformance/engine.fields.ts'
import { freshId, taskSetup, testNetwork } from '../conformance/engine.setup.ts'
import { dockerBed, type DockerBed } from './engine.bed.ts'

const signal = AbortSignal.timeout(600_000)
let bed: DockerBed
let apiVersion: string
const made = new Set<ContainerId>()

beforeAll(async () => {
  bed = await dockerBed()
  ;({ apiVersion } = await bed.engine.facts(signal))
})
afterEach(async () => {
  for (const container of made) await bed.engine.remove(container, signal)
  made.clear()
})
afterAll(async () => {
  await bed?.close()
})

/** Created and started: an engine that cannot honour a field often says so only then. */
async function run(setup: ReturnType<typeof taskSetup>): Promise<Record<string, unknown>> {
  const { container } = await bed.engine.create(setup, signal)
  made.add(container)
  expect(await bed.engine.start(container, signal)).toMatchObject({ state: 'running' })
  return bed.inspect(container)
}

/** A create body's fields stand in inspect's Config, and its HostConfig as it is. */
function asInspected(row: FieldRow): object {
  if (row.inspected !== undefined) return row.inspected
  const { HostConfig = {}, ...Config } = (row.body ?? {}) as { HostConfig?: object }
  return { Config, HostConfig }
}

/** An engine too old for the field would ignore it: then the task must be refused. */
function expected(row: FieldRow): object {
  const known = row.since === undefined || compareVersions(apiVersion, row.since) >= 0
  return known ? asInspected(row) : { name: 'TaskRejectedError' }
}

describe('the engine’s inspect says what the spec says, or the task is refused where the engine is too old', () => {
  const outcomes = new Map<FieldRow, unknown>()
  beforeAll(async () => {
    const left = [...fieldRows]
    const worker = async (): Promise<void> => {
      for (let row = left.shift(); row !== undefined; row = left.shift()) {
        outcomes.set(row, await run(taskSetup(row)).catch((error: unknown) => error))
      }
    }
    await Promise.all(Array.from({ length: defaults.engineConcurrencyMax }, worker))
  })

  test.each(fieldRows)('$field', (row) => {
    expect(outcomes.get(row)).toMatchObject(expected(row))
  })
})

test('a container is named after its service, slot and task', async () => {
  const setup = taskSetup({ name: 'shop_web', slot: 3 })
  expect(await run(setup)).toMatchObject({ Name: `/shop_web.3.${setup.task.id}` })
})

test('a task on two networks is in both, under its aliases, its service’s name and its own', async () => {
  const [front, back] = [testNetwork(), testNetwork()]
  const setup = taskSetup({
    networks: [front, back],
    template: { Networks: [{ Target: front.id, Aliases: ['api'] }, { Target: back.name }] },
  })
  const names = ['web', `web.1.${setup.task.id}`]
  expect(await run(setup)).toMatchObject({
    NetworkSettings: {
      Networks: {
        [front.name]: { Aliases: expect.arrayContaining(['api', ...names]) },
        [back.name]: { Aliases: expect.arrayContaining(names) },
      },
    },
  })
})

test('tasks of one network on one node find each other by their service’s name', async () => {
  const network = testNetwork()
  await run(taskSetup({ name: 'db', networks: [network] }))
  const client = taskSetup({ networks: [network] })
  await run(client)
  const answer = await bed.host.engine(
    'exec',
    `web.1.${client.task.id}`,
    'sh',
    '-c',
    'printf "GET / HTTP/1.0\\r\\n\\r\\n" | nc -w 2 db 80',
  )
  expect(answer).toContain('200 OK')
})

test('a network has the subnet that it was given, and is internal where it should be', async () => {
  const network = testNetwork({ Internal: true, IPAM: { Config: [{ Subnet: '10.42.7.0/24' }] } })
  const setup = taskSetup({ networks: [network] })
  await run(setup)
  expect(await bed.inspect('--type', 'network', network.name)).toMatchObject({
    Driver: 'bridge',
    Internal: true,
    IPAM: { Config: [{ Subnet: '10.42.7.0/24' }] },
    Labels: { 'moot.network': network.id },
  })
  const [observation] = (await bed.engine.list(signal)).filter(({ task }) => task === setup.task.id)
  expect(observation?.addresses).toEqual([{ network: network.name, address: '10.42.7.2/24' }])
})

test('somebody else’s network of the same name is left alone', async () => {
  const network = testNetwork()
  await bed.host.engine('network', 'create', network.name)
  try {
    await run(taskSetup({ networks: [network] }))
    const [own] = await Promise.all([
      bed.inspect('--type', 'network', `${network.name}-${network.id.slice(0, 12)}`),
      bed.inspect('--type', 'network', network.name),
    ])
    expect(own).toMatchObject({ Labels: { 'moot.network': network.id } })
  } finally {
    await bed.host.engine('network', 'rm', network.name)
  }
})

test('a container of somebody else, or of another cluster, is not listed', async () => {
  const other = freshId('other')
  await bed.host.engine(
    'run',
    '-d',
    '--name',
    other,
    '--label',
    'moot.cluster=other',
    '--label',
    'moot.task=t',
    'moot/test:1',
  )
  try {
    expect((await bed.engine.list(signal)).map(({ task }) => task)).not.toContain('t')
    expect(await bed.inspect(other)).toMatchObject({ State: { Status: 'running' } })
  } finally {
    await bed.host.engine('rm', '-f', other)
  }
})

describe('what this engine refuses', () => {
  const refusals: readonly (Omit<FieldRow, 'refused'> & { readonly words: RegExp })[] = [
    {
      field: 'an invalid image reference',
      container: { Image: 'Not An Image' },
      words: /invalid reference format/,
    },
    { field: 'an image that is not here', container: { Image: 'moot/none:1' }, words: /No such image/ },
    {
      field: 'an unknown capability',
      container: { CapabilityAdd: ['CAP_NOTHING'] },
      words: /invalid|unknown/i,
    },
    { field: 'two mounts on one target', container: { Mounts: [mount(), mount()] }, words: /[Dd]uplicate/ },
    { field: 'a network that is not there', template: { Networks: [{ Target: 'lost' }] }, words: /lost/ },
    {
      field: 'less memory than an engine can give',
      template: { Resources: { Limits: { MemoryBytes: 1_000 } } },
      words: /[Mm]inimum memory limit/,
    },
    {
      field: 'more CPU than the node has',
      template: { Resources: { Limits: { NanoCPUs: 10_000_000_000_000 } } },
      words: /[Rr]ange of CPUs/,
    },
  ]
  test.each(refusals)('$field', async ({ words, ...parts }) => {
    const refusal = run(taskSetup(parts))
    await expect(refusal).rejects.toBeInstanceOf(TaskRejectedError)
    await expect(refusal).rejects.toThrow(words)
  })

  // The engine looks for a plugin for 15 s before it says so: both at once.
  test('a volume driver and a log driver that are not here', async () => {
    const driver = { DriverConfig: { Name: 'nowhere' } }
    const mount = { Source: freshId('volume'), Target: '/d', VolumeOptions: driver }
    const refusals = [
      run(taskSetup({ container: { Mounts: [mount] } })),
      run(taskSetup({ template: { LogDriver: { Name: 'nowhere' } } })),
    ]
    for (const refusal of await Promise.allSettled(refusals)) {
      expect(refusal).toMatchObject({ status: 'rejected', reason: { name: 'TaskRejectedError' } })
      expect(refusal).toHaveProperty('reason.message', expect.stringContaining('nowhere'))
    }
  })

  test('a command that does not exist fails its task; another node would fare no better', async () => {
    const setup = taskSetup({ container: { Command: ['/no/such/command'] } })
    await expect(run(setup)).rejects.toMatchObject({ name: 'EngineCallError', status: 400 })
  })
})

function mount(): object {
  return { Type: 'tmpfs', Target: '/same' }
}
