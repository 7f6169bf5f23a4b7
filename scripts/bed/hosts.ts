import { existsSync } from 'node:fs'
import { mkdir, rmdir } from 'node:fs/promises'
import type { AgentOptions } from './agent.ts'
import { removeCgroup, removeCgroupIfEmpty, removeSlotCgroups } from './cgroup.ts'
import { formCluster, type Member } from './form-cluster.ts'
import { Host } from './host.ts'
import { ensureTestImages, type ImageArchive } from './images.ts'
import { cut, ensureSwitch, partition, plug, removeNetwork, switchNamespacePath } from './network.ts'
import { knownHosts, place, type Place } from './place.ts'

export interface UpOptions {
  /** Engines alone. */
  readonly withoutAgent?: boolean | undefined
  readonly agent?: AgentOptions | undefined
  readonly progress?: ((line: string) => void) | undefined
  readonly bed?: string | undefined
}

/** Several real hosts on this machine. What it does survives this process; `Bed.down` ends it. */
export class Bed {
  readonly place: Place
  readonly #progress: (line: string) => void

  constructor(
    bed: string | undefined = process.env['MOOT_BED'],
    progress: (line: string) => void = () => {},
  ) {
    this.place = place(bed)
    this.#progress = progress
  }

  /** Numbers of the hosts that exist, on or off. */
  indices(): number[] {
    return knownHosts(this.place)
  }

  host(index: number): Host {
    return new Host(this.place, index)
  }

  hosts(): Host[] {
    return this.indices().map((index) => this.host(index))
  }

  /**
   * Hosts 1 to `count`, on, connected, with images and (unless without agents) as one cluster. Whatever of it is there
   * already is left as it is, so it also completes what an interrupted run began.
   */
  async up(count: number, options: UpOptions = {}): Promise<void> {
    await mkdir(this.place.directory, { recursive: true })
    const archive = await ensureTestImages()
    const hosts = Array.from({ length: count }, (_, position) => this.host(position + 1))
    await ensureSwitch(this.place, 1)
    await inParallel(hosts, async (host) => {
      await host.powerOn()
      await host.load(archive)
      if (options.withoutAgent !== true) await host.agentStart(options.agent)
      const socket = options.withoutAgent === true ? host.place.engineSocket : host.place.agentSocket
      this.#progress(`${host.place.name} is up at ${host.place.address}: unix://${socket}`)
    })
    if (options.withoutAgent !== true) {
      await this.heal()
      await formCluster(hosts.map(memberOf), this.#progress)
    }
  }

  async kill(index: number): Promise<void> {
    await this.existing(index).powerOff()
  }

  /** With its agent, unless it never had one. Does not wait until its peers see it again. */
  async start(index: number, options: { readonly withoutAgent?: boolean } = {}): Promise<void> {
    const host = this.existing(index)
    await host.powerOn()
    await host.load(await ensureTestImages())
    const hadAgent = existsSync(`${host.place.directory}/agent.json`)
    if (hadAgent && options.withoutAgent !== true) await host.agentStart()
  }

  async cut(index: number): Promise<void> {
    await cut(this.place, this.existing(index).place)
  }

  /** Host `index` alone, or all of them, back on the first switch. What is powered off keeps its link down. */
  async heal(index?: number): Promise<void> {
    const hosts = index === undefined ? this.hosts() : [this.existing(index)]
    await inParallel(
      hosts.filter((host) => host.isOn()),
      (host) => plug(this.place, host.place, 1),
    )
    const off = hosts.filter((host) => !host.isOn() && existsSync(host.place.networkNamespacePath))
    if (off.length > 0) await partition(this.place, [off.map((host) => host.place.index)])
  }

  /** Groups that see each other no more; a host that is in none of them stays where it is. */
  async partition(groups: readonly (readonly number[])[]): Promise<void> {
    for (const index of groups.flat()) this.existing(index)
    await partition(this.place, groups)
  }

  /** Of a client that is no host, on the first switch. */
  get clientNamespacePath(): string {
    return switchNamespacePath(this.place, 1)
  }

  async load(archive: ImageArchive | string): Promise<void> {
    await inParallel(
      this.hosts().filter((host) => host.isOn()),
      (host) => host.load(archive),
    )
  }

  /** Processes, mounts, cgroups, namespaces, data: nothing stays. Also after an interrupted `up` or `down`. */
  async down(): Promise<void> {
    await inParallel(this.hosts(), (host) => host.remove())
    await removeNetwork(this.place)
    await removeCgroup(`/moot/${this.place.name}`)
    // /moot is shared by all beds: it goes with the last.
    removeSlotCgroups()
    removeCgroupIfEmpty('/moot')
    // Beds of other names live beside ours.
    await rmdir(this.place.directory).catch(() => {})
  }

  existing(index: number): Host {
    if (!this.indices().includes(index)) {
      const hosts = this.indices().join(', ') || 'none'
      throw new Error(`There is no host ${index} (there are: ${hosts}). Begin with: scripts/hosts up N`)
    }
    return this.host(index)
  }
}

export function memberOf(host: Host): Member {
  return { name: host.place.name, socket: host.place.agentSocket, advertise: host.place.address }
}

/** All of them at once, to the end; then the failures together, so that none hides another. */
async function inParallel<T>(items: readonly T[], action: (item: T) => Promise<void>): Promise<void> {
  const results = await Promise.allSettled(items.map(action))
  const failures = results
    .filter((result) => result.status === 'rejected')
    .map((result) => result.reason as unknown)
  if (failures.length === 1) throw failures[0]
  if (failures.length > 1) {
    const told = failures.map((failure) => (failure instanceof Error ? failure.message : String(failure)))
    throw new AggregateError(failures, told.join('\n'))
  }
}
