import { type ContainerId, digestId, type NodeId, type ResourceId, type ServiceSpec } from '@moot/crdt-state'
import type { Deed, Shape } from './acts.ts'
import type { Answer, Host } from './host.ts'
import type { NodeRow, ServiceRow } from './rows.ts'
import type { World } from './world.ts'

/** Where nothing is broken, everybody knows of a change within this time, ms. */
const spreadWithinMs = 5_000

/** People at the hosts: what they do through any agent's API, and what they were answered. */
export class People {
  /** Answers that nobody should get. */
  readonly violations: string[] = []
  /** Labels of acknowledged writes, by the service's name or the node's id. */
  readonly acknowledged = new Map<string, Set<string>>()
  /** Joined, or founded the cluster, and never asked to leave. */
  readonly members: Set<Host>
  /** When somebody last tried to remove it or to roll it back: what was written before may be gone, and may be not. */
  readonly #takenBackMs = new Map<string, number>()
  readonly #world: World
  #written = 0
  #attached = 0
  #released = 0
  readonly #listeners: ((subject: string, label: string) => void)[] = []

  constructor(world: World) {
    this.#world = world
    this.members = new Set(world.members())
  }

  onAcknowledged(listener: (subject: string, label: string) => void): void {
    this.#listeners.push(listener)
  }

  /** A person does it, at a host that answers (which is returned), and remembers what was answered. */
  async say(deed: Deed): Promise<Host | undefined> {
    const world = this.#world
    const host = answering(world, deed.via)
    if (host === undefined) return undefined
    world.contracts.say(deed, world.nowMs)
    // It may be done before it is answered, and long after it was asked for.
    this.#isAsked(deed)
    const answer = await this.#say(host, deed)
    this.#isAsked(deed)
    world.tell(`  ${host.name} answers ${deed.kind}: ${answer?.status ?? 'nothing'} ${messageOf(answer)}`)
    if (answer !== undefined && answer.status < 300) world.met.add(deed.kind)
    if (answer !== undefined && isUnexpected(answer)) {
      this.violations.push(`${host.name} answered ${deed.kind} with ${answer.status} ${messageOf(answer)}`)
    }
    return host
  }

  #isAsked(deed: Deed): void {
    const { askedAboutMs, nowMs } = this.#world
    if ('service' in deed) askedAboutMs.set(deed.service, nowMs)
    if (deed.kind === 'availability') askedAboutMs.set(this.#world.host(deed.host).node, nowMs)
  }

  /** It is not to be evened out any more. */
  async letRest(service: string): Promise<void> {
    const host = answering(this.#world, 0)
    if (host === undefined) return
    await this.#change(host, service, (spec) => ({
      ...spec,
      Labels: { ...spec.Labels, 'moot.rebalance': 'off' },
    }))
  }

  async #say(host: Host, deed: Deed): Promise<Answer | undefined> {
    switch (deed.kind) {
      case 'deploy':
        if (deed.shape.networked === true) await host.ask('POST', '/networks/create', networkBody)
        return this.#write(deed.service, (label) =>
          host.ask('POST', '/services/create', bodyOf(deed.service, deed.shape, label)),
        )
      case 'scale':
        return this.#change(host, deed.service, (spec) =>
          spec.Mode.Replicated === undefined
            ? spec
            : { ...spec, Mode: { Replicated: { Replicas: deed.replicas } } },
        )
      case 'image':
        return this.#change(host, deed.service, (spec) => ({
          ...spec,
          TaskTemplate: {
            ...spec.TaskTemplate,
            ContainerSpec: { ...spec.TaskTemplate.ContainerSpec, Image: deed.image },
          },
        }))
      case 'force':
        return this.#change(host, deed.service, (spec) => ({
          ...spec,
          TaskTemplate: {
            ...spec.TaskTemplate,
            ForceUpdate: (spec.TaskTemplate.ForceUpdate ?? 0) + 1,
          },
        }))
      case 'contract':
        return this.#change(host, deed.service, (spec) => ({
          ...spec,
          Labels: { ...spec.Labels, 'moot.partition': deed.exclusive ? 'exclusive' : 'available' },
        }))
      case 'constrain':
        return this.#change(host, deed.service, (spec) =>
          spec.Mode.Replicated === undefined
            ? spec
            : { ...spec, TaskTemplate: { ...spec.TaskTemplate, Placement: this.#away(deed.host) } },
        )
      case 'rollback': {
        const row = await this.#service(host, deed.service)
        if (row === undefined) return undefined
        const path = `/services/${row.ID}/update?version=${row.Version.Index}&rollback=previous`
        return this.#undo(deed.service, () => host.ask('POST', path, {}))
      }
      case 'release': {
        this.#released += 1
        const services = Object.entries(deed.images).map(([name, image]) => ({
          ...bodyOf(`shop_${name}`, { ...deed.shape, image }, ''),
          Labels: {},
        }))
        return host.ask('POST', '/moot/v1/deploy/shop', { release: `sim${this.#released}`, services })
      }
      case 'rebalance':
        return host.ask('POST', '/moot/v1/rebalance', {
          ...(deed.service !== undefined && { subject: deed.service }),
        })
      case 'attach':
        await host.ask('POST', '/networks/create', networkBody)
        return this.#attachAll(host, deed.count, deed.forMs)
      case 'remove':
        return this.#undo(deed.service, () => host.ask('DELETE', `/services/${deed.service}`))
      case 'restore':
        return host.ask('POST', `/moot/v1/restore/service/${deed.service}`)
      case 'availability':
        return this.#changeNode(host, this.#world.host(deed.host).node, deed.state)
      case 'join': {
        const joiner = this.#world.host(deed.host)
        if (joiner.isMember) return undefined
        const token = await host.ask('GET', '/swarm')
        if (token?.status !== 200) return token
        const { JoinTokens } = token.body as { readonly JoinTokens: { readonly Worker: string } }
        const answer = await joiner.ask('POST', '/swarm/join', { JoinToken: JoinTokens.Worker })
        if (answer?.status === 200) this.members.add(joiner)
        return answer
      }
      case 'leave': {
        const leaver = this.#world.host(deed.host)
        this.members.delete(leaver)
        const answer = await this.#undo(leaver.node, () => leaver.ask('POST', '/swarm/leave'))
        // A join that was asked for before may have been answered meanwhile.
        if (answer?.status === 200) this.members.delete(leaver)
        return answer
      }
    }
  }

  async #write(
    subject: string,
    ask: (label: string) => Promise<Answer | undefined>,
  ): Promise<Answer | undefined> {
    this.#written += 1
    const label = `write${this.#written}`
    const askedMs = this.#world.nowMs
    const answer = await ask(label)
    if (answer === undefined || answer.status >= 300) return answer
    // Where it says that one disk only has it, that disk may be lost.
    if (answer.warnings.some((warning) => warning.includes('stored on this node only'))) return answer
    if (!this.#counts(subject, askedMs)) return answer
    const labels = this.acknowledged.get(subject) ?? new Set()
    this.acknowledged.set(subject, labels.add(label))
    for (const listener of this.#listeners) listener(subject, label)
    return answer
  }

  /** It was written with an update that has failed since, and is undone with it: so any client is told. */
  isUndone(subject: string, label: string): boolean {
    return this.#world.members().some(({ agent }) => {
      const service = [...(agent?.view().services.values() ?? [])].find(({ name }) => name === subject)
      return service?.failure !== undefined && `/Labels/${label}` in service.failure.back
    })
  }

  /** Takes back what was written before it is done, which may be long after it was asked for. */
  async #undo(subject: string, ask: () => Promise<Answer | undefined>): Promise<Answer | undefined> {
    this.#takeBack(subject)
    const answer = await ask()
    this.#takeBack(subject)
    return answer
  }

  #takeBack(subject: string): void {
    this.acknowledged.delete(subject)
    this.#takenBackMs.set(subject, this.#world.nowMs)
  }

  /** A write that may not have known of a removal loses against it, as people are told. */
  #counts(subject: string, askedMs: number): boolean {
    const sinceMs = this.#takenBackMs.get(subject)
    return sinceMs === undefined || (this.#world.isOpen && askedMs - sinceMs > spreadWithinMs)
  }

  #away(host: number | undefined): { Constraints: string[] } {
    return { Constraints: host === undefined ? [] : [`node.id!=${this.#world.host(host).node}`] }
  }

  /** `docker run --network`, so many at once: what the engine is told is told to it here. */
  async #attachAll(host: Host, count: number, forMs: number): Promise<Answer | undefined> {
    const networks = host.isMember ? host.agent?.view().networks.values() : undefined
    const network = networks?.find(({ name }) => name === networkName)
    if (network === undefined) return undefined
    const all = Array.from({ length: count }, () => this.#attach(host, network.id, forMs))
    return (await Promise.all(all)).find(Boolean)
  }

  async #attach(host: Host, network: ResourceId, forMs: number): Promise<Answer | undefined> {
    const { agent, engine } = host
    this.#attached += 1
    const container = digestId('container', String(this.#attached)) as ContainerId
    const wanted = { network, aliases: ['tool'], nameservers: [] }
    try {
      await agent?.attach(wanted, new AbortController().signal, async ({ address }) => {
        engine.putGuest({ container, name: 'toolbox', isUp: true, network, address })
        this.#world.clock.after(forMs, () => engine.dropGuest(container, network))
      })
      return { status: 201, body: {}, warnings: [] }
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      return { status: 503, body: { message }, warnings: [] }
    }
  }

  async #service(host: Host, name: string): Promise<ServiceRow | undefined> {
    const answer = await host.ask('GET', `/services/${name}`)
    return answer?.status === 200 ? (answer.body as ServiceRow) : undefined
  }

  async #change(
    host: Host,
    name: string,
    change: (spec: ServiceSpec) => ServiceSpec,
  ): Promise<Answer | undefined> {
    const row = await this.#service(host, name)
    if (row === undefined) return undefined
    // Whoever writes on top of what was gone back to has seen what is gone.
    for (const label of this.acknowledged.get(name) ?? []) {
      if (this.isUndone(name, label)) this.acknowledged.get(name)?.delete(label)
    }
    return this.#write(name, (label) => {
      const spec = change(row.Spec)
      return host.ask('POST', `/services/${row.ID}/update?version=${row.Version.Index}`, {
        ...spec,
        Labels: { ...spec.Labels, [label]: '1' },
      })
    })
  }

  async #changeNode(host: Host, node: NodeId, state: string): Promise<Answer | undefined> {
    const answer = await host.ask('GET', `/nodes/${node}`)
    if (answer?.status !== 200) return answer
    const row = answer.body as NodeRow
    return this.#write(node, (label) =>
      host.ask('POST', `/nodes/${node}/update?version=${row.Version.Index}`, {
        ...row.Spec,
        Availability: state,
        Labels: { ...row.Spec.Labels, [label]: '1' },
      }),
    )
  }
}

function answering(world: World, via: number): Host | undefined {
  return world.hosts
    .map((_, step) => world.host(via + step))
    .find((host) => host.agent?.state().kind === 'active')
}

/** An error that the agent did not foresee, or no answer in time. All others are for people to read. */
function isUnexpected(answer: Answer): boolean {
  const message = messageOf(answer)
  return message.startsWith('the agent failed at this request') || message.startsWith('no answer within')
}

function messageOf(answer: Answer | undefined): string {
  const { message } = (answer?.body ?? {}) as { readonly message?: string }
  return message ?? ''
}

const probeNames = { start: 'startup.', ready: '', live: 'live.' } as const

function probeLabels({ probed = [] }: Shape): Readonly<Record<string, string>> {
  if (probed.length === 0) return {}
  return {
    ...Object.fromEntries(probed.map((part) => [`moot.health.${probeNames[part]}http`, `8080/${part}`])),
    'moot.health.interval': '1s',
    'moot.health.timeout': '500ms',
    'moot.health.retries': '2',
  }
}

const networkName = 'backbone'
/** So small that its blocks are of four addresses: nodes claim more of them, and give them back. */
const networkBody = {
  Name: networkName,
  Driver: 'overlay',
  Attachable: true,
  IPAM: { Config: [{ Subnet: '10.77.0.0/23' }] },
}

function bodyOf(Name: string, shape: Shape, label: string): object {
  const config = {
    Parallelism: shape.parallelism,
    Order: shape.order,
    FailureAction: shape.onFailure,
    Monitor: 1_000_000_000,
    ...(shape.delayMs !== undefined && { Delay: shape.delayMs * 1_000_000 }),
    ...(shape.tolerated !== undefined && { MaxFailureRatio: shape.tolerated }),
  }
  const { reservedBytes: MemoryBytes } = shape
  const Healthcheck = shape.checked ? { Test: ['CMD', 'true'] } : undefined
  return {
    Name,
    Labels: {
      [label]: '1',
      ...probeLabels(shape),
      ...(shape.evensOut === true && { 'moot.rebalance': 'auto' }),
      ...(shape.exclusive === true && { 'moot.partition': 'exclusive' }),
    },
    TaskTemplate: {
      ...(shape.networked === true && { Networks: [{ Target: networkName }] }),
      ContainerSpec: { Image: shape.image, ...(Healthcheck && { Healthcheck }) },
      ...(MemoryBytes !== undefined && { Resources: { Reservations: { MemoryBytes } } }),
      RestartPolicy: { Condition: 'any', Delay: 3_000_000_000 },
    },
    Mode: shape.global ? { Global: {} } : { Replicated: { Replicas: shape.replicas } },
    UpdateConfig: config,
    // Going back goes on, whatever becomes of it.
    RollbackConfig: { ...config, ...(shape.onFailure === 'rollback' && { FailureAction: 'continue' }) },
  }
}
