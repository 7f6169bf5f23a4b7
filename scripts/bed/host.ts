import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { agentArguments, agentEnvironment, type AgentOptions } from './agent.ts'
import { removeCgroup } from './cgroup.ts'
import type { ImageArchive } from './images.ts'
import { cableOf, cut, ensureHostNetwork, plug } from './network.ts'
import { gateway, hostPlace, type HostPlace, type Place } from './place.ts'
import {
  forgetProgram,
  gone,
  isAlive,
  killed,
  launch,
  processesInNetwork,
  readProgram,
  signal,
  type Program,
} from './processes.ts'
import { flags, run, waitUntil } from './shell.ts'
import { ask, askJson } from './socket-http.ts'

const engineReadyTimeoutMs = 90_000
const agentReadyTimeoutMs = 60_000

/** One host: a set of namespaces with an engine and an agent in them, all of which can be switched off at any moment. */
export class Host {
  readonly bed: Place
  readonly place: HostPlace
  constructor(bed: Place, index: number) {
    this.bed = bed
    this.place = hostPlace(bed, index)
  }

  /** Cable, PID 1 and engine; each only where it is missing. A cable that was cut stays cut where the host is on. */
  async powerOn(): Promise<void> {
    const { place } = this
    await mkdir(join(place.directory, 'agent'), { recursive: true })
    if (this.#init() === undefined) await this.#removeRemains()
    await ensureHostNetwork(this.bed, place)
    if (this.#init() === undefined) {
      const cable = await cableOf(this.bed, place)
      const raised = cable.kind === 'cut' ? plug(this.bed, place, cable.switchNumber) : undefined
      await Promise.all([raised, this.#startInit()])
    }
    await this.engineStart()
  }

  /** As if the power failed: the link first (or peers would be refused at once, which is a crash), then everything. */
  async powerOff(): Promise<void> {
    await cut(this.bed, this.place)
    await this.#removeRemains()
  }

  isOn(): boolean {
    return this.#init() !== undefined
  }

  async engineStart(): Promise<void> {
    const { place } = this
    if (this.program('engine') === undefined) {
      const args = flags({
        'data-root': join(place.directory, 'docker'),
        'exec-root': '/run/docker',
        pidfile: '/run/docker.pid',
        host: `unix://${place.engineSocket}`,
        'storage-driver': 'overlay2',
        'exec-opt': 'native.cgroupdriver=cgroupfs',
        'cgroup-parent': place.cgroup,
      })
      await this.#launchInside('engine', 'dockerd', args)
    }
    await this.#answers('engine', place.engineSocket, '/_ping', engineReadyTimeoutMs)
  }

  /** SIGKILL to dockerd alone: its containers run on. */
  async engineKill(): Promise<void> {
    await killed(`${this.place.name}'s engine`, this.program('engine')?.main)
  }

  /** As `systemctl stop docker`: it stops its containers first. */
  async engineStop(): Promise<void> {
    const program = this.program('engine')
    if (program !== undefined && signal(program.main, 'SIGTERM')) await gone('dockerd', program.main, 30_000)
  }

  /** Options are remembered, so that the agent restarts as it was first started. */
  async agentStart(options?: AgentOptions): Promise<void> {
    const { place } = this
    const kept = join(place.directory, 'agent.json')
    const used = options ?? (JSON.parse(await readFile(kept, 'utf8').catch(() => '{}')) as AgentOptions)
    await writeFile(kept, JSON.stringify(used))
    if (this.program('agent') === undefined) {
      const [command = process.execPath, ...args] = [
        ...(used.through ?? []),
        process.execPath,
        ...agentArguments(place, used),
      ]
      await this.#launchInside('agent', command, args, agentEnvironment(used))
    }
    await this.#answers('agent', place.agentSocket, '/moot/v1/status', agentReadyTimeoutMs)
  }

  /** SIGKILL to the agent alone; engine and containers do not notice. */
  async agentKill(): Promise<void> {
    const program = this.program('agent')
    await killed(`${this.place.name}'s agent`, program?.main)
    if (program !== undefined) await gone('the launcher of the agent', program.launcher)
  }

  /** SIGSTOP: a hung agent. */
  agentStop(): void {
    signal(this.program('agent')?.main, 'SIGSTOP')
  }

  agentContinue(): void {
    const program = this.program('agent')
    // The launcher stops itself with its child, and would never reap it.
    if (program !== undefined) signal(program.launcher, 'SIGCONT')
    signal(program?.main, 'SIGCONT')
  }

  program(name: 'engine' | 'agent' | 'init'): Program | undefined {
    return readProgram(this.#pidFile(name))
  }

  /** Loads the archive's images that the engine does not have already. */
  async load(archive: ImageArchive | string): Promise<void> {
    const socket = this.place.engineSocket
    if (typeof archive !== 'string') {
      const present = await askJson<{ Id: string; RepoTags: string[] | null }[]>(
        socket,
        'GET',
        '/images/json',
      )
      const has = (reference: string, id: string): boolean =>
        present.some((image) => image.Id === id && (image.RepoTags ?? []).includes(reference))
      if ([...archive.ids].every(([reference, id]) => has(reference, id))) return
    }
    const file = typeof archive === 'string' ? archive : archive.path
    const { status, text } = await ask(socket, 'POST', '/images/load?quiet=1', { file, timeoutMs: 120_000 })
    if (status !== 200 || text.includes('errorDetail')) {
      throw new Error(`${this.place.name} could not load ${file}: ${text.trim()}`)
    }
  }

  /** Powers off and removes the host's data. */
  async remove(): Promise<void> {
    await this.powerOff()
    await rm(this.place.directory, { recursive: true, force: true })
  }

  #init(): Program | undefined {
    const program = this.program('init')
    // Interrupted between its start and "ready": not a host yet.
    return program !== undefined && existsSync(join(this.place.directory, 'ready')) ? program : undefined
  }

  async #startInit(): Promise<void> {
    const { place } = this
    await writeFile(
      join(place.directory, 'resolv.conf'),
      `nameserver ${gateway}\noptions timeout:1 attempts:1\n`,
    )
    const script = join(import.meta.dirname, 'init.sh')
    const ownView = '--mount --propagation slave --uts --ipc --pid --fork --kill-child --mount-proc'.split(
      ' ',
    )
    const command = ['unshare', ...ownView, 'sh', script, place.name, place.directory]
    await launch(
      `${place.name}'s first process`,
      'nsenter',
      [`--net=${place.networkNamespacePath}`, ...command],
      { pidFile: this.#pidFile('init'), logFile: join(place.directory, 'init.log') },
    )
    await waitUntil(
      `${place.name} has made its mounts (see ${place.directory}/init.log)`,
      async () => existsSync(join(place.directory, 'ready')),
      { timeoutMs: 15_000, intervalMs: 5 },
    )
  }

  /** Kills what still runs in the host's namespaces (also what an interrupted run left), then its cgroups. */
  async #removeRemains(): Promise<void> {
    const { place } = this
    const init = this.program('init')
    if (init !== undefined) {
      await killed(`${place.name}'s first process`, init.main)
      await gone(`${place.name}'s launcher`, init.launcher)
    }
    const left = processesInNetwork(place.networkNamespacePath)
    for (const id of left) signal(id, 'SIGKILL')
    for (const id of left) if (isAlive(id)) await gone(`a process of ${place.name}`, id)
    for (const name of ['init', 'engine', 'agent'] as const) forgetProgram(this.#pidFile(name))
    await rm(join(place.directory, 'ready'), { force: true })
    await removeCgroup(place.cgroup)
  }

  async #launchInside(
    name: 'engine' | 'agent',
    command: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv = process.env,
  ): Promise<void> {
    const { place } = this
    const init = this.#init()
    if (init === undefined)
      throw new Error(`${place.name} is off. Start it: scripts/hosts start ${place.index}`)
    // nsenter rather than `ip netns exec`, which remounts /sys and so hides cgroup v1.
    await launch(
      `${place.name}'s ${name}`,
      'nsenter',
      [
        '--target',
        String(init.main.pid),
        '--mount',
        '--uts',
        '--ipc',
        '--net',
        '--pid',
        '--',
        command,
        ...args,
      ],
      { pidFile: this.#pidFile(name), logFile: join(place.directory, `${name}.log`), env },
    )
  }

  async #answers(name: 'engine' | 'agent', socket: string, path: string, timeoutMs: number): Promise<void> {
    const log = join(this.place.directory, `${name}.log`)
    let ended: string | undefined
    await waitUntil(
      `${this.place.name}'s ${name} answers`,
      async () => {
        if (this.program(name) === undefined) {
          ended = await run('tail', ['-n', '15', log])
          return true
        }
        return (await ask(socket, 'GET', path, { timeoutMs: 2_000 })).status === 200
      },
      { timeoutMs },
    )
    if (ended !== undefined) {
      throw new Error(`${this.place.name}'s ${name} ended at its start. The end of ${log}:\n${ended}`)
    }
  }

  #pidFile(name: 'init' | 'engine' | 'agent'): string {
    return join(this.place.directory, `${name}.pid`)
  }
}
