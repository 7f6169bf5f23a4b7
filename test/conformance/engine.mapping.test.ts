import { taskTemplateSchema } from '@moot/crdt-state'
import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import {
  createBody,
  type Attachment,
  type CreateBody,
} from '../../packages/agent/src/adapters/docker/container.ts'
import { assignResources } from '../../packages/agent/src/adapters/docker/generic.ts'
import { readOwner } from '../../packages/agent/src/adapters/docker/labels.ts'
import { networkBody } from '../../packages/agent/src/adapters/docker/networks.ts'
import { refuseWhatIsIgnored } from '../../packages/agent/src/adapters/docker/requirements.ts'
import type { SlotKey } from '../../packages/agent/src/core/lease/messages.ts'
import type { TaskSetup } from '../../packages/agent/src/core/reconcile/actions.ts'
import { TaskRejectedError } from '../../packages/agent/src/ports/engine.errors.ts'
import { containerFragments, fieldRows, refusedRows } from './engine.fields.ts'
import { taskSetup, testCluster, testNetwork, testNode, testService } from './engine.setup.ts'

const own = { cluster: testCluster, node: testNode }
const node = {
  own,
  hostname: 'host-1',
  os: 'linux',
  architecture: 'x86_64',
  cgroups: { driver: 'cgroupfs', isRootless: false },
}
const newest = '1.50'

/** As the adapter does it, without an engine. */
function body(setup: TaskSetup, attachments?: readonly Attachment[], apiVersion = newest): CreateBody {
  refuseWhatIsIgnored(setup.spec, apiVersion)
  const reserved = setup.spec.TaskTemplate.Resources?.Reservations?.GenericResources ?? []
  const predefined = (setup.spec.TaskTemplate.Networks ?? []).map(({ Target }) => ({
    name: Target,
    endpoint: {},
  }))
  return createBody(setup, node, attachments ?? predefined, assignResources(reserved, [], []))
}

describe('each field of a spec becomes', () => {
  test.each(fieldRows)('$field', (row) => {
    expect(body(taskSetup(row))).toMatchObject(row.body ?? {})
  })

  test.each(refusedRows)('$field, refused', (row) => {
    const make = (): CreateBody => body(taskSetup(row))
    expect(make).toThrow(TaskRejectedError)
    expect(make).toThrow(row.refused)
  })

  test.each(fieldRows.filter(({ since }) => since !== undefined))(
    '$field, refused on an engine that would ignore it',
    (row) => {
      const make = (): CreateBody => body(taskSetup(row), undefined, '1.41')
      expect(make).toThrow(TaskRejectedError)
      expect(make).toThrow(`needs an engine with API ${row.since} or newer; this node's engine speaks 1.41`)
    },
  )

  test.each([
    [undefined, ['attempts:2']],
    [['ndots:3'], ['attempts:2']],
    [['timeout:1', 'ndots:0'], ['timeout:1']],
  ])('DNS options %j, on a network over hosts: no ndots, nor the host’s own', (Options, expected) => {
    const setup = taskSetup({ container: Options === undefined ? {} : { DNSConfig: { Options } } })
    const overlay = {
      network: testNetwork(),
      bridge: 'moot-web',
      subnet: '10.1.0.0/18',
      gateway: '10.1.4.1',
      address: '10.1.4.2',
    }
    expect(body({ ...setup, overlays: [overlay] }).HostConfig).toMatchObject({
      Dns: ['10.1.4.1'],
      DnsOptions: expected,
    })
  })

  test('nothing at all where it is not given: the image and the engine decide', () => {
    const { Labels, HostConfig, ...rest } = body(taskSetup())
    expect(rest).toEqual({ Image: 'moot/test:1' })
    expect(HostConfig).toEqual({ RestartPolicy: { Name: 'no' }, NetworkMode: 'default' })
    expect(Object.keys(Labels)).toHaveLength(13)
  })

  test('a row of the table, whatever the schema holds', () => {
    const inRows = new Set(containerFragments.flatMap((fragment) => leaves(fragment)))
    const missing = schemaLeaves(taskTemplateSchema.shape.ContainerSpec).filter((path) => !inRows.has(path))
    expect(missing).toEqual([])
  })
})

describe('a container under a lease', () => {
  const under = (fence: number | undefined): TaskSetup => ({
    ...taskSetup({ name: 'db', container: { Env: ['A=1'] } }),
    lease: { slot: 'db.1' as SlotKey, fence },
  })
  const on = (setup: TaskSetup, driver: string, isRootless = false): CreateBody =>
    createBody(setup, { ...node, cgroups: { driver, isRootless } }, [], {})

  test.each([
    ['cgroupfs', /^\/moot\/exclusive\/db\.1_[0-9a-f]{16}$/],
    ['systemd', /^moot-db\.1_[0-9a-f]{16}\.slice$/],
  ])('knows its fence, and is in its slot’s cgroup (%s)', (driver, parent) => {
    const made = on(under(7), driver)
    expect(made['Env']).toEqual(['A=1', 'MOOT_FENCE=7'])
    expect(made.HostConfig['CgroupParent']).toMatch(parent)
    expect(made.HostConfig['RestartPolicy']).toEqual({ Name: 'no' })
    expect(readOwner(made.Labels, own)).toMatchObject({ lease: { slot: 'db.1', fence: 7 } })
  })

  test.each([
    ['none', false, /has the cgroup driver none/],
    ['systemd', true, /is rootless/],
  ])('is refused where the watchdog cannot work (%s, rootless: %s)', (driver, isRootless, why) => {
    expect(() => on(under(7), driver, isRootless)).toThrow(TaskRejectedError)
    expect(() => on(under(7), driver, isRootless)).toThrow(why)
  })

  test('is told from one that needs none', () => {
    const claims = { 'moot.lease': 'db.1', 'moot.fence': '9' }
    const made = on(taskSetup({ container: { Labels: claims } }), 'none', true)
    expect(made.HostConfig['CgroupParent']).toBeUndefined()
    expect(readOwner(made.Labels, own)).not.toHaveProperty('lease')
  })
})

test('a container carries Swarm’s labels and ours', () => {
  const setup = taskSetup({ name: 'shop_web', slot: 3 })
  expect(body(setup).Labels).toEqual({
    'com.docker.swarm.node.id': testNode,
    'com.docker.swarm.service.id': testService,
    'com.docker.swarm.service.name': 'shop_web',
    'com.docker.swarm.task': '',
    'com.docker.swarm.task.id': setup.task.id,
    'com.docker.swarm.task.name': `shop_web.3.${setup.task.id}`,
    'moot.cluster': testCluster,
    'moot.node': testNode,
    'moot.service': testService,
    'moot.slot': '3',
    'moot.task': setup.task.id,
    'moot.attempt': '1',
    'moot.digest': setup.task.digest,
  })
})

test('a global service’s task is named after its node', () => {
  const setup = taskSetup({ name: 'agent', slot: testNode })
  expect(body(setup).Labels['com.docker.swarm.task.name']).toBe(`agent.${testNode}.${setup.task.id}`)
})

test('the first network is the container’s main one, with its aliases', () => {
  const endpoint = { Aliases: ['web', 'api'] }
  const made = body(taskSetup(), [
    { name: 'front', endpoint },
    { name: 'back', endpoint: {} },
  ])
  expect(made.HostConfig).toMatchObject({ NetworkMode: 'front' })
  expect(made.NetworkingConfig).toEqual({ EndpointsConfig: { front: endpoint } })
})

test('an overlay network becomes a bridge of ours, without the options that only an overlay knows', () => {
  const network = testNetwork({
    Name: 'shop_default',
    Internal: true,
    Attachable: true,
    Labels: { a: 'b' },
    Options: { encrypted: '', 'com.docker.network.driver.mtu': '1400' },
    IPAM: { Config: [{ Subnet: '10.42.0.0/24' }] },
  })
  expect(networkBody(network, 'shop_default', own)).toEqual({
    Name: 'shop_default',
    CheckDuplicate: true,
    Driver: 'bridge',
    Internal: true,
    Attachable: true,
    EnableIPv6: false,
    IPAM: { Driver: 'default', Config: [{ Subnet: '10.42.0.0/24' }] },
    Options: { 'com.docker.network.driver.mtu': '1400' },
    Labels: { a: 'b', 'moot.cluster': testCluster, 'moot.node': testNode, 'moot.network': network.id },
  })
})

test('one that reaches over hosts has its subnet and this node’s address, and no IPv6, of which no host has any', () => {
  const Config = [{ Subnet: '10.5.0.0/18' }, { Subnet: 'fd00::/64' }]
  const network = testNetwork({ Name: 'back', EnableIPv6: true, IPAM: { Config } })
  const [subnet, gateway] = ['10.5.0.0/18', '10.5.16.1']
  const reach = { network, bridge: 'moot-back', subnet, gateway, address: '10.5.16.2' }
  expect(networkBody(network, 'back', own, reach)).toMatchObject({
    EnableIPv6: false,
    IPAM: { Config: [{ Subnet: subnet, Gateway: gateway }] },
    Labels: { 'moot.network.subnet': `${subnet} ${gateway}` },
  })
})

/** Paths of the values in a spec's fragment; an array's items count as one. */
function leaves(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return value.length === 0 ? [path] : value.flatMap((item) => leaves(item, path))
  if (typeof value !== 'object' || value === null) return [path]
  const entries = Object.entries(value)
  return [path, ...entries.flatMap(([name, item]) => leaves(item, `${path}/${name}`))]
}

/** The same paths of a schema; a record is a leaf. */
function schemaLeaves(schema: z.core.$ZodType, path = ''): string[] {
  const { def } = schema as unknown as {
    readonly def: {
      readonly innerType?: z.core.$ZodType
      readonly element?: z.core.$ZodType
      readonly shape?: Readonly<Record<string, z.core.$ZodType>>
    }
  }
  const inner = def.innerType ?? def.element
  if (inner !== undefined) return schemaLeaves(inner, path)
  const fields = Object.entries(def.shape ?? {})
  if (fields.length === 0) return [path]
  return fields.flatMap(([name, field]) => schemaLeaves(field, `${path}/${name}`))
}
