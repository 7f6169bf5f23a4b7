import { expect } from 'vitest'
import type { SetupParts } from './engine.setup.ts'

/** One field of a spec, and what becomes of it. */
export interface FieldRow extends Pick<SetupParts, 'container' | 'template' | 'spec'> {
  readonly field: string
  /** Part of the body of container create. */
  readonly body?: object
  /** Part of what the engine's inspect says, where that is not `body` as Config and HostConfig. */
  readonly inspected?: object
  /** Instead of all that: why no engine can do it. */
  readonly refused?: RegExp
  /** Engine API that knows it; an older engine would ignore it, so the task is refused there. */
  readonly since?: string
}

const second = 1_000_000_000
const seccompProfile = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [] }
const sleep = ['sleep', '600']

const processRows: readonly FieldRow[] = [
  { field: 'Image', container: { Image: 'moot/test:2' }, body: { Image: 'moot/test:2' } },
  {
    field: 'Labels',
    container: { Labels: { tier: 'front', 'moot.task': 'forged' } },
    body: { Labels: expect.objectContaining({ tier: 'front', 'moot.task': expect.stringMatching(/^task/) }) },
  },
  {
    field: 'Command replaces the entrypoint',
    container: { Command: sleep },
    body: { Entrypoint: sleep },
    inspected: { Config: { Entrypoint: sleep, Cmd: null } },
  },
  {
    field: 'Command with Args',
    container: { Command: ['sleep'], Args: ['600'] },
    body: { Entrypoint: ['sleep'], Cmd: ['600'] },
  },
  { field: 'Args alone replace the command', container: { Args: sleep }, body: { Cmd: sleep } },
  {
    field: 'Hostname',
    container: { Hostname: 'web-{{.Task.Slot}}' },
    body: { Hostname: 'web-1' },
  },
  {
    field: 'Env',
    container: { Env: ['PLAIN=a=b', 'INHERITED', 'NODE={{.Node.ID}}'] },
    body: {
      Env: expect.arrayContaining(['PLAIN=a=b', 'INHERITED', 'NODE=nodeaaaaaaaaaaaaaaaaaaaaa']),
    },
  },
  { field: 'Dir', container: { Dir: '/tmp/work' }, body: { WorkingDir: '/tmp/work' } },
  { field: 'User', container: { User: '1000:1000', Args: sleep }, body: { User: '1000:1000' } },
  { field: 'Groups', container: { Groups: ['33', '44'] }, body: { HostConfig: { GroupAdd: ['33', '44'] } } },
  { field: 'TTY', container: { TTY: true }, body: { Tty: true } },
  { field: 'OpenStdin', container: { OpenStdin: true }, body: { OpenStdin: true } },
  {
    field: 'ReadOnly',
    container: { ReadOnly: true, Args: sleep },
    body: { HostConfig: { ReadonlyRootfs: true } },
  },
  { field: 'StopSignal', container: { StopSignal: 'SIGUSR1' }, body: { StopSignal: 'SIGUSR1' } },
  {
    field: 'StopGracePeriod, in whole seconds rounded up',
    container: { StopGracePeriod: 1.5 * second },
    body: { StopTimeout: 2 },
  },
  {
    field: 'Healthcheck',
    container: {
      Healthcheck: {
        Test: ['CMD', 'true'],
        Interval: 2 * second,
        Timeout: second,
        StartPeriod: 3 * second,
        Retries: 4,
      },
    },
    body: {
      Healthcheck: {
        Test: ['CMD', 'true'],
        Interval: 2 * second,
        Timeout: second,
        StartPeriod: 3 * second,
        Retries: 4,
      },
    },
  },
  {
    field: 'Healthcheck.StartInterval',
    since: '1.44',
    container: { Healthcheck: { Test: ['CMD', 'true'], StartInterval: second } },
    body: { Healthcheck: { StartInterval: second } },
  },
  { field: 'Init', container: { Init: true, Args: sleep }, body: { HostConfig: { Init: true } } },
  {
    field: 'OomScoreAdj',
    container: { OomScoreAdj: 250 },
    body: { HostConfig: { OomScoreAdj: 250 } },
  },
  { field: 'Isolation', container: { Isolation: 'default' }, body: { HostConfig: { Isolation: 'default' } } },
  {
    field: 'Sysctls',
    container: { Sysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' } },
    body: { HostConfig: { Sysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' } } },
  },
  {
    field: 'CapabilityAdd',
    container: { CapabilityAdd: ['CAP_NET_ADMIN'] },
    body: { HostConfig: { CapAdd: ['CAP_NET_ADMIN'] } },
  },
  {
    field: 'CapabilityDrop',
    container: { CapabilityDrop: ['CAP_CHOWN'] },
    body: { HostConfig: { CapDrop: ['CAP_CHOWN'] } },
  },
  {
    field: 'Ulimits',
    container: { Ulimits: [{ Name: 'nofile', Soft: 512, Hard: 1024 }] },
    body: { HostConfig: { Ulimits: [{ Name: 'nofile', Soft: 512, Hard: 1024 }] } },
  },
]

const nameRows: readonly FieldRow[] = [
  {
    field: 'Hosts, with aliases',
    container: { Hosts: ['10.1.2.3 db db.local', 'fe80::1  six'] },
    body: { HostConfig: { ExtraHosts: ['db:10.1.2.3', 'db.local:10.1.2.3', 'six:fe80::1'] } },
  },
  {
    field: 'Hosts without a name',
    container: { Hosts: ['10.1.2.3'] },
    refused: /^invalid entry in Hosts: "10\.1\.2\.3"/,
  },
  {
    field: 'DNSConfig',
    container: {
      DNSConfig: { Nameservers: ['10.99.0.254'], Search: ['lan', 'local'], Options: ['ndots:2'] },
    },
    body: { HostConfig: { Dns: ['10.99.0.254'], DnsSearch: ['lan', 'local'], DnsOptions: ['ndots:2'] } },
  },
  {
    field: 'Secrets',
    container: { Secrets: [{ SecretID: 's', SecretName: 's', File: fileTarget() }] },
    refused: /^Secrets is not supported/,
  },
  {
    field: 'Configs',
    container: { Configs: [{ ConfigID: 'c', ConfigName: 'c', File: fileTarget(), Runtime: {} }] },
    refused: /^Configs is not supported/,
  },
]

const privilegeRows: readonly FieldRow[] = [
  ['NoNewPrivileges', { NoNewPrivileges: true }, 'no-new-privileges:true'] as const,
  ['SELinuxContext.Disable', { SELinuxContext: { Disable: true } }, 'label=disable'] as const,
  ['SELinuxContext.User', { SELinuxContext: { User: 'u' } }, 'label=user:u'] as const,
  ['SELinuxContext.Role', { SELinuxContext: { Role: 'r' } }, 'label=role:r'] as const,
  ['SELinuxContext.Type', { SELinuxContext: { Type: 't' } }, 'label=type:t'] as const,
  ['SELinuxContext.Level', { SELinuxContext: { Level: 's0' } }, 'label=level:s0'] as const,
  ['Seccomp.Mode unconfined', { Seccomp: { Mode: 'unconfined' } }, 'seccomp=unconfined'] as const,
  [
    'Seccomp.Mode custom with a Profile',
    {
      Seccomp: { Mode: 'custom', Profile: Buffer.from(JSON.stringify(seccompProfile)).toString('base64') },
    },
    `seccomp=${JSON.stringify(seccompProfile)}`,
  ] as const,
  ['AppArmor.Mode disabled', { AppArmor: { Mode: 'disabled' } }, 'apparmor=unconfined'] as const,
].map(([name, Privileges, option]) => ({
  field: `Privileges.${name}`,
  container: { Privileges },
  body: { HostConfig: { SecurityOpt: [option] } },
}))

const refusedPrivilegeRows: readonly FieldRow[] = [
  {
    field: 'Privileges.Seccomp.Profile that is no JSON',
    container: { Privileges: { Seccomp: { Mode: 'custom', Profile: 'AAAA' } } },
    refused: /^Privileges\.Seccomp\.Profile is not base64 of a JSON seccomp profile/,
  },
  {
    field: 'Privileges.CredentialSpec',
    container: { Privileges: { CredentialSpec: { Config: 'a', File: 'b', Registry: 'c' } } },
    refused: /^Privileges\.CredentialSpec is not supported/,
  },
]

const marks = {
  'moot.cluster': 'clusteraaaaaaaaaaaaaaaaaa',
  'moot.node': 'nodeaaaaaaaaaaaaaaaaaaaaa',
}
const mountRow = (name: string, mount: object, made: object, more: Partial<FieldRow> = {}): FieldRow => ({
  field: `Mounts: ${name}`,
  container: { Mounts: [mount] },
  body: { HostConfig: { Mounts: [made] } },
  ...more,
})

const mountRows: readonly FieldRow[] = [
  mountRow(
    'a named volume, marked as ours',
    { Type: 'volume', Source: 'fields-{{.Service.Name}}', Target: '/data', ReadOnly: true },
    {
      Type: 'volume',
      Source: 'fields-web',
      Target: '/data',
      ReadOnly: true,
      VolumeOptions: { Labels: marks },
    },
  ),
  mountRow(
    'VolumeOptions',
    {
      Type: 'volume',
      Source: 'fields-options',
      Target: '/data',
      VolumeOptions: {
        NoCopy: true,
        Labels: { kept: 'yes' },
        DriverConfig: { Name: 'local', Options: { type: 'tmpfs', device: 'tmpfs', o: 'size=1m' } },
      },
    },
    {
      VolumeOptions: {
        NoCopy: true,
        Labels: { ...marks, kept: 'yes' },
        DriverConfig: { Name: 'local', Options: { type: 'tmpfs', device: 'tmpfs', o: 'size=1m' } },
      },
    },
  ),
  mountRow('an anonymous volume', { Target: '/data' }, { Type: 'volume', Target: '/data' }),
  mountRow(
    'VolumeOptions.Subpath',
    { Source: 'fields-subpath', Target: '/data', VolumeOptions: { Subpath: 'a' } },
    { VolumeOptions: { Subpath: 'a' } },
    { since: '1.45' },
  ),
  mountRow(
    'a bind with its propagation',
    {
      Type: 'bind',
      Source: '/usr/share',
      Target: '/host-tmp',
      ReadOnly: true,
      Consistency: 'cached',
      BindOptions: { Propagation: 'rprivate', NonRecursive: true },
    },
    {
      Type: 'bind',
      Source: '/usr/share',
      Target: '/host-tmp',
      ReadOnly: true,
      Consistency: 'cached',
      BindOptions: { Propagation: 'rprivate', NonRecursive: true },
    },
  ),
  ...(
    [
      ['CreateMountpoint', '1.42'],
      ['ReadOnlyNonRecursive', '1.44'],
      ['ReadOnlyForceRecursive', '1.44'],
    ] as const
  ).map(([option, since]) =>
    mountRow(
      `BindOptions.${option}`,
      {
        Type: 'bind',
        Source: '/usr/share',
        Target: '/host-tmp',
        ReadOnly: true,
        BindOptions: { [option]: true, Propagation: 'rprivate' },
      },
      { BindOptions: { [option]: true } },
      { since },
    ),
  ),
  mountRow(
    'a tmpfs with its size and mode',
    { Type: 'tmpfs', Target: '/scratch', TmpfsOptions: { SizeBytes: 65_536, Mode: 0o1770 } },
    { Type: 'tmpfs', Target: '/scratch', TmpfsOptions: { SizeBytes: 65_536, Mode: 0o1770 } },
  ),
  mountRow(
    'TmpfsOptions.Options',
    { Type: 'tmpfs', Target: '/scratch', TmpfsOptions: { Options: [['noexec']] } },
    { TmpfsOptions: { Options: [['noexec']] } },
    { since: '1.46' },
  ),
  mountRow(
    'an image',
    { Type: 'image', Source: 'moot/test:2', Target: '/image', ImageOptions: { Subpath: 'www' } },
    { Type: 'image', Source: 'moot/test:2', ImageOptions: { Subpath: 'www' } },
    { since: '1.48' },
  ),
  {
    field: 'Mounts: a cluster volume',
    container: { Mounts: [{ Type: 'cluster', Source: 'c', Target: '/c', ClusterOptions: {} }] },
    refused: /^mount type "cluster" is not supported/,
  },
  {
    field: 'Mounts: a named pipe',
    container: { Mounts: [{ Type: 'npipe', Source: 'p', Target: '/p' }] },
    refused: /^mount type "npipe" is not supported/,
  },
]

/** Every field of ContainerSpec is in one of these. */
const containerRows: readonly FieldRow[] = [
  ...processRows,
  ...nameRows,
  ...privilegeRows,
  ...refusedPrivilegeRows,
  ...mountRows,
]

/** What concerns the container in the rest of a service's spec. */
const taskRows: readonly FieldRow[] = [
  {
    field: 'Resources.Limits',
    template: { Resources: { Limits: { NanoCPUs: 250_000_000, MemoryBytes: 33_554_432, Pids: 64 } } },
    body: { HostConfig: { NanoCpus: 250_000_000, Memory: 33_554_432, PidsLimit: 64 } },
  },
  {
    field: 'Resources.Reservations: memory is told to the engine, CPU concerns placement alone',
    template: { Resources: { Reservations: { NanoCPUs: 500_000_000, MemoryBytes: 16_777_216 } } },
    body: { HostConfig: { MemoryReservation: 16_777_216 } },
  },
  {
    field: 'Resources.Reservations.GenericResources',
    template: {
      Resources: {
        Reservations: {
          GenericResources: [
            { DiscreteResourceSpec: { Kind: 'ssd', Value: 2 } },
            { NamedResourceSpec: { Kind: 'gpu', Value: 'gpu-7' } },
          ],
        },
      },
    },
    body: {
      Env: expect.arrayContaining(['DOCKER_RESOURCE_SSD=2', 'DOCKER_RESOURCE_GPU=gpu-7']),
      Labels: expect.objectContaining({ 'moot.generic': '{"ssd":2,"gpu":["gpu-7"]}' }),
    },
  },
  {
    field: 'RestartPolicy: never the engine’s affair',
    template: { RestartPolicy: { Condition: 'any' } },
    body: { HostConfig: { RestartPolicy: { Name: 'no' } } },
  },
  {
    field: 'LogDriver',
    template: { LogDriver: { Name: 'json-file', Options: { 'max-size': '1m' } } },
    body: { HostConfig: { LogConfig: { Type: 'json-file', Config: { 'max-size': '1m' } } } },
  },
  {
    field: 'EndpointSpec.Ports in host mode; ports of the routing mesh are not the engine’s',
    spec: {
      EndpointSpec: {
        Ports: [
          { TargetPort: 80, PublishedPort: 28_180, PublishMode: 'host' },
          { TargetPort: 80, PublishedPort: 28_181, PublishMode: 'host' },
          { TargetPort: 53, Protocol: 'udp', PublishMode: 'host' },
          { TargetPort: 81, PublishedPort: 8181, PublishMode: 'ingress' },
        ],
      },
    },
    body: {
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
      HostConfig: {
        PortBindings: {
          '80/tcp': [{ HostPort: '28180' }, { HostPort: '28181' }],
          '53/udp': [{ HostPort: '' }],
        },
      },
    },
    inspected: {
      HostConfig: {
        PortBindings: {
          '80/tcp': [
            { HostIp: '', HostPort: '28180' },
            { HostIp: '', HostPort: '28181' },
          ],
          '53/udp': [{ HostIp: '', HostPort: '' }],
        },
      },
    },
  },
  {
    field: 'no network: the engine’s default bridge',
    body: { HostConfig: { NetworkMode: 'default' } },
    inspected: { HostConfig: { NetworkMode: 'default' }, NetworkSettings: { Networks: { bridge: {} } } },
  },
  ...['host', 'none'].map((network) => ({
    field: `Networks: the engine’s own "${network}"`,
    template: { Networks: [{ Target: network }] },
    body: { HostConfig: { NetworkMode: network } },
  })),
]

/** Fragments of ContainerSpec, for a test that none of its fields was forgotten. */
export const containerFragments = containerRows.map(({ container }) => container)
export const fieldRows = [...containerRows, ...taskRows].filter(({ refused }) => refused === undefined)
export const refusedRows = containerRows.filter(({ refused }) => refused !== undefined)

function fileTarget(): object {
  return { Name: 'f', UID: '0', GID: '0', Mode: 0o444 }
}
