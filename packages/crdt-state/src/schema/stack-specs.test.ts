import { describe, expect, test } from 'vitest'
import { author, openSpecs, sync } from '../testing/spec-fixtures.ts'
import { serviceSpecSchema } from './service.ts'

const second = 1_000_000_000
/** As `docker stack deploy` sends them: a service with nearly everything, a global one, a job, the least. */
const specs = {
  full: {
    Name: 'shop_web',
    Labels: {
      'com.docker.stack.namespace': 'shop',
      'com.docker.stack.image': 'nginx:1.27',
      'traefik/rule~x': 'Host(`a`)',
    },
    TaskTemplate: {
      ContainerSpec: {
        Image: 'nginx:1.27@sha256:0123',
        Labels: { 'com.docker.stack.namespace': 'shop', empty: '' },
        Command: ['nginx'],
        Args: ['-g', 'daemon off;'],
        Hostname: '{{.Node.Hostname}}',
        Env: ['A=1', 'B=', 'C=ü "quoted" \\ \n'],
        Dir: '/srv',
        User: '1000:1000',
        Groups: ['audio'],
        Privileges: { NoNewPrivileges: true, Seccomp: { Mode: 'unconfined' } },
        TTY: true,
        ReadOnly: false,
        Mounts: [
          { Type: 'volume', Source: 'shop_data', Target: '/data', VolumeOptions: { Labels: { a: 'b' } } },
          { Type: 'tmpfs', Target: '/tmp', TmpfsOptions: { SizeBytes: 65_536, Mode: 0o1777 } },
          {
            Type: 'bind',
            Source: '/etc',
            Target: '/host',
            ReadOnly: true,
            BindOptions: { Propagation: 'rslave' },
          },
        ],
        StopSignal: 'SIGQUIT',
        StopGracePeriod: 20 * second,
        Healthcheck: {
          Test: ['CMD', 'true'],
          Interval: 5 * second,
          Timeout: second,
          Retries: 0,
          StartPeriod: 0,
        },
        Hosts: ['10.0.0.1 db'],
        DNSConfig: { Nameservers: ['8.8.8.8'], Search: [], Options: ['ndots:1'] },
        Init: false,
        Sysctls: { 'net.core.somaxconn': '1024' },
        CapabilityAdd: ['CAP_NET_ADMIN'],
        CapabilityDrop: ['ALL'],
        Ulimits: [{ Name: 'nofile', Soft: -1, Hard: 20_000 }],
      },
      Resources: {
        Limits: { NanoCPUs: 500_000_000, MemoryBytes: 52_428_800, Pids: 100 },
        Reservations: {
          NanoCPUs: 250_000_000,
          MemoryBytes: 20_971_520,
          GenericResources: [{ DiscreteResourceSpec: { Kind: 'gpu', Value: 2 } }],
        },
      },
      RestartPolicy: { Condition: 'on-failure', Delay: 0, MaxAttempts: 3, Window: 120 * second },
      Placement: {
        Constraints: ['node.labels.zone==a'],
        Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }],
        MaxReplicas: 2,
        Platforms: [{ Architecture: 'amd64', OS: 'linux' }],
      },
      ForceUpdate: 0,
      Networks: [{ Target: 'shop_default', Aliases: ['web'] }],
      LogDriver: { Name: 'json-file', Options: { 'max-size': '10m' } },
    },
    Mode: { Replicated: { Replicas: 6 } },
    UpdateConfig: {
      Parallelism: 0,
      Delay: 10 * second,
      FailureAction: 'rollback',
      Monitor: 60 * second,
      MaxFailureRatio: 0.3,
      Order: 'start-first',
    },
    RollbackConfig: { Parallelism: 1, Order: 'stop-first' },
    EndpointSpec: {
      Mode: 'vip',
      Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' }],
    },
  },
  global: {
    Name: 'shop_agent',
    Labels: {},
    TaskTemplate: { ContainerSpec: { Image: 'agent' }, Resources: {}, Placement: {} },
    Mode: { Global: {} },
  },
  job: {
    Name: 'shop_migrate',
    Labels: {},
    TaskTemplate: { ContainerSpec: { Image: 'migrate' } },
    Mode: { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 1 } },
  },
  zero: {
    Name: 'shop_off',
    Labels: {},
    TaskTemplate: { ContainerSpec: { Image: 'x' } },
    Mode: { Replicated: { Replicas: 0 } },
  },
}

describe('service specs as stacks have them', () => {
  test.each(Object.entries(specs))(
    '%s is read as it was written, here, elsewhere and after a restart',
    async (_, given) => {
      const spec = serviceSpecSchema.parse(given)
      expect(spec).toEqual(given)
      const opened = await openSpecs()
      const { resource } = await opened.store.create('service', spec.Name, spec, author)
      expect(resource.spec).toEqual(given)
      expect(resource.conflicts).toEqual([])
      const { store: peer } = await openSpecs()
      await sync(peer, opened.store)
      expect(peer.byName('service', spec.Name)).toEqual(resource)
      expect((await opened.reopen()).store.byName('service', spec.Name)).toEqual(resource)
    },
  )
})
