import { Bed, memberOf } from '../../scripts/bed/hosts.ts'
import type { AgentOptions } from '../../scripts/bed/agent.ts'
import { formCluster } from '../../scripts/bed/form-cluster.ts'
import type { Host } from '../../scripts/bed/host.ts'
import type { ImageArchive } from '../../scripts/bed/images.ts'
import { run, waitUntil } from '../../scripts/bed/shell.ts'
import { ask, askJson } from '../../scripts/bed/socket-http.ts'
import { beginLoad, type RunningLoad } from './load-process.ts'
import type { LoadOptions } from './load.ts'

/** MOOT_DOCKER_CLI=/usr/bin/docker tries the distribution's older command line. */
export const dockerCli = process.env['MOOT_DOCKER_CLI'] ?? 'docker'

const cliEnvironment = { ...process.env, DOCKER_HOST: undefined, DOCKER_CLI_HINTS: 'false' }

/** One real host as a test uses it. */
export class TestHost {
  readonly index: number
  readonly #host: Host
  constructor(host: Host) {
    this.#host = host
    this.index = host.place.index
  }

  get name(): string {
    return this.#host.place.name
  }

  get address(): string {
    return this.#host.place.address
  }

  get agentSocket(): string {
    return this.#host.place.agentSocket
  }

  get engineSocket(): string {
    return this.#host.place.engineSocket
  }

  get directory(): string {
    return this.#host.place.directory
  }

  /** Pid of the agent, seen from outside; undefined while it does not run. */
  get agentPid(): number | undefined {
    return this.#host.program('agent')?.main.pid
  }

  isOn(): boolean {
    return this.#host.isOn()
  }

  /** The stock docker command line against the agent: what it printed, or `CommandFailed` with its stderr. */
  docker(...args: string[]): Promise<string> {
    return run(dockerCli, ['-H', `unix://${this.agentSocket}`, ...args], { env: cliEnvironment })
  }

  /** The same with something on standard input, such as a stack file for `stack deploy -c -`. */
  dockerWithInput(input: string, ...args: string[]): Promise<string> {
    return run(dockerCli, ['-H', `unix://${this.agentSocket}`, ...args], { env: cliEnvironment, input })
  }

  /** The stock docker command line against the bare engine. */
  engine(...args: string[]): Promise<string> {
    return run(dockerCli, ['-H', `unix://${this.engineSocket}`, ...args], { env: cliEnvironment })
  }

  /** HTTP to the agent, the answer as JSON; another status than 2xx is thrown as `UnexpectedStatus`. */
  api<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
    return askJson<T>(this.agentSocket, method, path, body === undefined ? {} : { body })
  }

  /** The same, for a test that is after the status itself. */
  answer(method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
    return ask(this.agentSocket, method, path, body === undefined ? {} : { body })
  }

  /** Runs a program of this machine in the host's namespaces: its network, mounts and processes. */
  inside(...command: string[]): Promise<string> {
    const pid = this.#host.program('init')?.main.pid
    if (pid === undefined) throw new Error(`${this.name} is off.`)
    const namespaces = ['--mount', '--uts', '--ipc', '--net', '--pid']
    return run('nsenter', ['--target', String(pid), ...namespaces, '--', ...command])
  }

  /** Containers that this host's engine runs for the cluster now, by the engine's own word. */
  async runningContainers(): Promise<EngineContainer[]> {
    if (!this.isOn()) return []
    const filters = encodeURIComponent(JSON.stringify({ status: ['running'] }))
    return askJson<EngineContainer[]>(this.engineSocket, 'GET', `/containers/json?filters=${filters}`)
  }
}

export interface EngineContainer {
  readonly Id: string
  readonly Names: readonly string[]
  readonly Image: string
  readonly State: string
  readonly Labels: Readonly<Record<string, string>>
}

export interface WaitOptions {
  readonly timeoutMs?: number
  readonly intervalMs?: number
}

interface Named {
  readonly ID?: string
  readonly Id?: string
  readonly Spec?: { readonly Name?: string }
  readonly Name?: string
  readonly Driver?: string
  readonly Scope?: string
}

/**
 * Several real hosts for a test file. They outlive the file: `Hosts.up` leaves what is up as it is, so the next file
 * begins in a second; `reset` makes them empty again.
 *
 *     const hosts = await Hosts.up(5)
 *     await hosts.host(2).docker('service', 'create', '--name', 'web', 'moot/test:1')
 *     await hosts.kill(3)
 *     await hosts.waitFor('web runs', async () => (await hosts.host(1).docker('service', 'ls')).includes('1/1'))
 */
export class Hosts {
  readonly count: number
  readonly #bed: Bed

  private constructor(bed: Bed, count: number) {
    this.#bed = bed
    this.count = count
  }

  static async up(
    count: number,
    options: {
      /** Tears down what is there first. */
      readonly fresh?: boolean
      readonly withoutAgent?: boolean
      readonly agent?: AgentOptions
    } = {},
  ): Promise<Hosts> {
    const bed = new Bed()
    const tooMany = bed.indices().some((index) => index > count)
    if (options.fresh === true || tooMany) await bed.down()
    await bed.up(count, { withoutAgent: options.withoutAgent, agent: options.agent })
    return new Hosts(bed, count)
  }

  host(index: number): TestHost {
    return new TestHost(this.#bed.existing(index))
  }

  all(): TestHost[] {
    return this.#bed.hosts().map((host) => new TestHost(host))
  }

  on(): TestHost[] {
    return this.all().filter((host) => host.isOn())
  }

  /** Power off, the link first. */
  async kill(...indices: number[]): Promise<void> {
    await Promise.all(indices.map((index) => this.#bed.kill(index)))
  }

  async start(...indices: number[]): Promise<void> {
    await Promise.all(indices.map((index) => this.#bed.start(index)))
  }

  /** Images beside the test images, into every engine that is on and lacks them. */
  async load(archive: ImageArchive): Promise<void> {
    await this.#bed.load(archive)
  }

  /** Runs a program of this machine as a client that is no member, at 10.99.0.254. */
  fromClient(...command: string[]): Promise<string> {
    return run('nsenter', [`--net=${this.#bed.clientNamespacePath}`, ...command])
  }

  /** Load from that client; it runs until it is over or stopped. */
  loadFromClient(options: LoadOptions): Promise<RunningLoad> {
    return beginLoad(this.#bed.clientNamespacePath, options)
  }

  async cut(index: number): Promise<void> {
    await this.#bed.cut(index)
  }

  async partition(groups: readonly (readonly number[])[]): Promise<void> {
    await this.#bed.partition(groups)
  }

  async heal(index?: number): Promise<void> {
    await this.#bed.heal(index)
  }

  async agentKill(...indices: number[]): Promise<void> {
    await Promise.all(indices.map((index) => this.#bed.existing(index).agentKill()))
  }

  async agentStart(...indices: number[]): Promise<void> {
    await Promise.all(indices.map((index) => this.#bed.existing(index).agentStart()))
  }

  /** Another agent than the one that was there; from now on it is started like this. */
  async agentStartAs(options: AgentOptions, ...indices: number[]): Promise<void> {
    await Promise.all(indices.map((index) => this.#bed.existing(index).agentStart(options)))
  }

  /** SIGSTOP: a hung agent. */
  agentStop(index: number): void {
    this.#bed.existing(index).agentStop()
  }

  agentContinue(index: number): void {
    this.#bed.existing(index).agentContinue()
  }

  /** SIGKILL to dockerd alone. */
  async engineKill(index: number): Promise<void> {
    await this.#bed.existing(index).engineKill()
  }

  /** As `systemctl stop docker`: its containers stop with it. */
  async engineStop(index: number): Promise<void> {
    await this.#bed.existing(index).engineStop()
  }

  async engineStart(index: number): Promise<void> {
    await this.#bed.existing(index).engineStart()
  }

  /** Every container that runs for the cluster, by the engines' own word. */
  async runningContainers(): Promise<(EngineContainer & { readonly host: number })[]> {
    const lists = await Promise.all(
      this.on().map(async (host) => {
        const containers = await host.runningContainers()
        return containers.map((container) => ({ ...container, host: host.index }))
      }),
    )
    return lists.flat()
  }

  /**
   * Polls until the answer is neither false nor undefined, and gives it. Fails with the sentence, the last answer, and
   * what each host says of every service's tasks.
   */
  async waitFor<T>(
    sentence: string,
    question: () => Promise<T | undefined | false>,
    options: WaitOptions = {},
  ): Promise<T> {
    try {
      return await waitUntil(sentence, question, {
        timeoutMs: options.timeoutMs ?? 30_000,
        intervalMs: options.intervalMs ?? 100,
      })
    } catch (error) {
      const told = error instanceof Error ? error.message : String(error)
      throw new Error(`${told}\n${await this.story()}`, { cause: error })
    }
  }

  /** What a person would look at first: tasks of every service as one host knows them, and the hosts. */
  async story(): Promise<string> {
    const accounts = await Promise.all(
      this.on().map(async (host) => {
        try {
          const services = (await host.docker('service', 'ls', '-q')).split('\n').filter(Boolean)
          const nodes = await host.docker('node', 'ls')
          const tasks =
            services.length === 0 ? '' : await host.docker('service', 'ps', '--no-trunc', ...services)
          return `--- ${host.name}\n${nodes}${tasks}`
        } catch (error) {
          return `--- ${host.name}: ${error instanceof Error ? error.message : String(error)}`
        }
      }),
    )
    return accounts.join('\n')
  }

  /** Every host on, connected, with its agent, in one cluster; nothing deployed; nothing running. */
  async reset(): Promise<void> {
    for (const host of this.#bed.hosts()) host.agentContinue()
    await this.#bed.heal()
    await this.#bed.up(this.count)
    const first = this.host(1)
    const nodes = await first.api<{ ID: string; Version: { Index: number }; Spec: NodeSpec }[]>(
      'GET',
      '/nodes',
    )
    for (const node of nodes.filter(({ Spec }) => Spec.Availability !== 'active' || hasLabels(Spec))) {
      const spec = { ...node.Spec, Availability: 'active', Labels: {} }
      await first.api('POST', `/nodes/${node.ID}/update?version=${node.Version.Index}`, spec)
    }
    for (const kind of ['services', 'secrets', 'configs'] as const) {
      for (const one of await listed(first, `/${kind}`)) await first.api('DELETE', `/${kind}/${one.ID}`)
    }
    await this.waitFor('every container of the cluster has stopped', async () => {
      const running = await this.runningContainers()
      if (running.length === 0) return true
      throw new Error(running.map((one) => `${one.Names.join()} on host ${one.host}`).join(', '))
    })
    for (const network of await listed(first, '/networks')) {
      const ofCluster = network.Scope === 'swarm' && network.Name !== 'ingress'
      if (ofCluster) await first.api('DELETE', `/networks/${network.ID ?? network.Id}`)
    }
    await this.waitFor('every host has seen that nothing is deployed', async () => {
      const services = await Promise.all(this.on().map((host) => listed(host, '/services')))
      return services.every((list) => list.length === 0)
    })
  }

  async formCluster(indices: readonly number[]): Promise<void> {
    const members = indices.map((index) => memberOf(this.#bed.existing(index)))
    await formCluster(members, () => {})
  }

  async down(): Promise<void> {
    await this.#bed.down()
  }
}

interface NodeSpec {
  readonly Availability: string
  readonly Labels?: Readonly<Record<string, string>> | null
}

function hasLabels(spec: NodeSpec): boolean {
  return Object.keys(spec.Labels ?? {}).length > 0
}

/** What an agent lists; kinds that it does not have yet (501) are empty. */
async function listed(host: TestHost, path: string): Promise<Named[]> {
  const { status, text } = await host.answer('GET', path)
  if (status === 501 || status === 404) return []
  if (status !== 200) throw new Error(`GET ${path} on ${host.name} was answered with ${status}: ${text}`)
  return (JSON.parse(text) ?? []) as Named[]
}
