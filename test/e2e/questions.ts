import type { EngineContainer, Hosts, TestHost } from './hosts.ts'

/** Questions that several suites ask of real hosts. */
export interface ServiceRow {
  readonly ID: string
  readonly Version: { readonly Index: number }
  readonly Spec: {
    readonly Name: string
    readonly Mode: { readonly Replicated?: { readonly Replicas?: number }; readonly Global?: object }
    readonly TaskTemplate: { readonly ContainerSpec: { readonly Image: string } } & Record<string, unknown>
  }
  readonly UpdateStatus?: { readonly State: string; readonly Message: string }
  readonly ServiceStatus?: { readonly RunningTasks: number; readonly DesiredTasks: number }
}

export interface TaskRow {
  readonly ID: string
  readonly ServiceID: string
  readonly NodeID?: string
  readonly Slot?: number
  readonly DesiredState: string
  readonly Status: { readonly State: string; readonly Err?: string; readonly Message?: string }
}

/** Waits until every node of the cluster is seen as ready by every host that is on. */
export async function allReady(hosts: Hosts): Promise<void> {
  await hosts.waitFor('every host sees every node ready', async () => {
    for (const host of hosts.on()) {
      const nodes = await host.api<{ Status: { State: string } }[]>('GET', '/nodes')
      if (nodes.length !== hosts.count || nodes.some((node) => node.Status.State !== 'ready')) return false
    }
    return true
  })
}

export function services(host: TestHost): Promise<ServiceRow[]> {
  return host.api<ServiceRow[]>('GET', '/services?status=true')
}

export async function service(host: TestHost, name: string): Promise<ServiceRow> {
  const found = (await services(host)).find((each) => each.Spec.Name === name)
  if (found === undefined) throw new Error(`${host.name} knows no service ${name}`)
  return found
}

export function tasks(host: TestHost, name: string): Promise<TaskRow[]> {
  return host.api<TaskRow[]>(
    'GET',
    `/tasks?filters=${encodeURIComponent(JSON.stringify({ service: [name] }))}`,
  )
}

/** Containers of one service that run now, over all hosts that are on, by the engines' own word. */
export async function containersOf(
  hosts: Hosts,
  name: string,
): Promise<(EngineContainer & { readonly host: number })[]> {
  const all = await hosts.runningContainers()
  return all.filter((container) => container.Labels['com.docker.swarm.service.name'] === name)
}

/** Exactly `count` containers of the service run, each slot once. */
export async function runsExactly(hosts: Hosts, name: string, count: number): Promise<boolean> {
  const running = await containersOf(hosts, name)
  const slots = new Set(running.map((container) => container.Labels['moot.slot']))
  return running.length === count && slots.size === count
}

export async function untilRuns(
  hosts: Hosts,
  name: string,
  count: number,
  timeoutMs = 30_000,
): Promise<void> {
  await hosts.waitFor(`exactly ${count} containers of ${name} run`, () => runsExactly(hosts, name, count), {
    timeoutMs,
  })
}

/** A service of the test image, without waiting for it; on a host, or wherever else `docker` speaks to. */
export async function createService(
  host: Pick<TestHost, 'docker'>,
  name: string,
  ...options: string[]
): Promise<void> {
  const image = options.some((option) => option.startsWith('moot/')) ? [] : ['moot/test:1']
  await host.docker(
    'service',
    'create',
    '--detach',
    '--no-resolve-image',
    '--name',
    name,
    '--stop-grace-period',
    '1s',
    ...options,
    ...image,
  )
}

/** How long something took, in milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begunAt = performance.now()
  await work()
  return Math.round(performance.now() - begunAt)
}
