import { describe, expect, test } from 'vitest'
import { serviceSpecSchema, specDigest, type ServiceSpec } from './index.ts'

function parse(spec: object): ServiceSpec {
  return serviceSpecSchema.parse(spec)
}
const base = {
  Name: 'web',
  Labels: { team: 'a' },
  TaskTemplate: {
    ContainerSpec: { Image: 'nginx:1', Env: ['A=1'] },
    RestartPolicy: { Condition: 'any' },
    Placement: { Constraints: ['node.role==manager'] },
    ForceUpdate: 0,
  },
  Mode: { Replicated: { Replicas: 2 } },
}
const digest = (change: object): string => specDigest(parse({ ...base, ...change }))
const ofTask = (change: object): string => digest({ TaskTemplate: { ...base.TaskTemplate, ...change } })
const unchanged = digest({})

describe('what a task runs', () => {
  test.each([
    ['replicas', { Mode: { Replicated: { Replicas: 9 } } }],
    ['the update config', { UpdateConfig: { Parallelism: 4 } }],
    ['the service’s labels', { Labels: { team: 'b' } }],
    ['an ingress port', { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] } }],
    ['the endpoint’s mode', { EndpointSpec: { Mode: 'dnsrr' } }],
  ])('does not change with %s', (_, change) => {
    expect(digest(change)).toBe(unchanged)
  })

  test.each([
    ['its placement', { Placement: { Constraints: [] } }],
    ['an empty object where there was none', { Resources: { Limits: {}, Reservations: {} } }],
    ['a zero that means absent', { ForceUpdate: undefined }],
    ['an explicit false', { ContainerSpec: { ...base.TaskTemplate.ContainerSpec, TTY: false } }],
    ['the order of keys', { ContainerSpec: { Env: ['A=1'], Image: 'nginx:1' } }],
  ])('does not change with %s', (_, change) => {
    expect(ofTask(change)).toBe(unchanged)
  })

  test.each([
    ['the image', { ContainerSpec: { ...base.TaskTemplate.ContainerSpec, Image: 'nginx:2' } }],
    ['an environment variable', { ContainerSpec: { ...base.TaskTemplate.ContainerSpec, Env: ['A=2'] } }],
    ['a forced update', { ForceUpdate: 1 }],
    ['a limit', { Resources: { Limits: { MemoryBytes: 1 } } }],
    [
      'Init: false, which is not Docker’s default',
      { ContainerSpec: { ...base.TaskTemplate.ContainerSpec, Init: false } },
    ],
    [
      'a grace period of 0, which is not the default',
      { ContainerSpec: { ...base.TaskTemplate.ContainerSpec, StopGracePeriod: 0 } },
    ],
    [
      'a label with an empty value',
      { ContainerSpec: { ...base.TaskTemplate.ContainerSpec, Labels: { a: '' } } },
    ],
    ['the restart policy, as in swarmkit', { RestartPolicy: { Condition: 'none' } }],
    ['a network', { Networks: [{ Target: 'n' }] }],
  ])('changes with %s', (_, change) => {
    expect(ofTask(change)).not.toBe(unchanged)
  })

  test('changes with a host port', () => {
    const port = { TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' }
    expect(digest({ EndpointSpec: { Ports: [port] } })).not.toBe(unchanged)
  })

  test('an empty environment is no environment, and an empty element is one', () => {
    const env = (Env: string[] | undefined): string => ofTask({ ContainerSpec: { Image: 'nginx:1', Env } })
    expect(env([])).toBe(env(undefined))
    expect(env([''])).not.toBe(env([]))
  })
})
