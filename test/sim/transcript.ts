import type { NodeId } from '@moot/crdt-state'
import type { Availability, Deed, Shape } from './acts.ts'
import type { Host } from './host.ts'
import type { ServiceRow } from './rows.ts'
import { People } from './people.ts'
import { gateway, World } from './world.ts'

/**
 * Plays the commands of a transcript (its lines that begin with `> `) and gives the transcript as it should read: each
 * command, and below it what happened. Times are since the last command, in seconds.
 *
 *     > 3 hosts of 4
 *     > host1 deploys web replicas=4 checked
 *     > 5 s
 *     > power off host3
 *     > where
 */
export async function play(text: string): Promise<string> {
  const stage = new Stage()
  const lines: string[] = []
  for (const line of text.split('\n')) {
    // What stands above the first command is the title.
    if (!line.startsWith('> ')) {
      if (lines.every((each) => each.startsWith('#'))) lines.push(line)
      continue
    }
    if (lines.at(-1) !== '') lines.push('')
    lines.push(line, ...(await stage.perform(line.slice(2).trim())))
  }
  return `${lines.join('\n')}\n`
}

class Stage {
  #world: World | undefined
  #people: People | undefined
  #undo: (() => void)[] = []
  #told = 0
  #sinceMs = 0

  get world(): World {
    if (this.#world === undefined) throw new Error('a transcript begins with `> 3 hosts`')
    return this.#world
  }

  async perform(command: string): Promise<readonly string[]> {
    const begin = /^(\d+) hosts(?: of (\d+))?$/.exec(command)
    if (begin !== null) {
      const founders = Number(begin[1])
      this.#world = await World.of({ seed: 1, hosts: Number(begin[2] ?? founders), founders })
      this.#people = new People(this.#world)
      this.#told = this.#world.events.length
      return []
    }
    this.#sinceMs = this.world.nowMs
    const answer = await this.#act(command)
    const told = this.world.events.slice(this.#told)
    this.#told = this.world.events.length
    return [
      ...told.map(
        ({ atMs, line }) => `${((atMs - this.#sinceMs) / 1_000).toFixed(3).padStart(8)} ${line.trim()}`,
      ),
      ...answer,
    ]
  }

  async #act(command: string): Promise<readonly string[]> {
    const [first = '', second = '', third = '', ...rest] = command.split(' ')
    if (/^[\d.]+$/.test(first) && second === 's') await this.world.pass(Number(first) * 1_000)
    else if (command === 'where') return this.#where()
    else if (second === 'asks' && third === 'what') return this.#moves(this.#host(first))
    else if (second === 'asks') return this.#status(this.#host(first), rest.at(-1) ?? '')
    else if (command === 'heal') for (const undo of this.#undo.splice(0)) undo()
    else if (first === 'partition') this.#part(command.slice('partition '.length))
    else if (first === 'power') this.#power(second, this.#host(third))
    else if (second === 'leaves') await this.#leave(this.#host(first))
    else await this.#say(command)
    return []
  }

  #host(name: string): Host {
    const found = this.world.hosts.find((host) => host.name === name)
    if (found === undefined) throw new Error(`no host is called "${name}"`)
    return found
  }

  #power(to: string, host: Host): void {
    if (to === 'off') host.powerOff()
    else host.powerOn()
  }

  /** `host1,host2 | host3`; the gateway is on the first side. */
  #part(sides: string): void {
    const groups = sides.split('|').map((names) => names.split(',').map((name) => this.#host(name.trim())))
    for (const [index, group] of groups.entries()) {
      for (const other of groups.filter((_, at) => at !== index).flat()) {
        for (const host of group) this.#undo.push(this.world.block(host, other))
      }
      if (index > 0) this.#undo.push(...group.map((host) => this.world.block(host, gateway)))
    }
  }

  async #leave(host: Host): Promise<void> {
    await this.world.during(host.ask('POST', '/swarm/leave'))
  }

  async #say(command: string): Promise<void> {
    const deed = this.#deed(command)
    await this.world.during(this.#people!.say(deed))
  }

  #deed(command: string): Deed {
    const [name = '', verb = '', subject = '', ...rest] = command.split(' ')
    const via = this.world.hosts.indexOf(this.#host(name))
    const base = { atMs: 0, via }
    switch (verb) {
      case 'deploys':
        return { ...base, kind: 'deploy', service: subject, shape: shapeOf(subject, rest) }
      case 'releases': {
        const { image: _, ...shape } = shapeOf(subject, rest)
        const pairs = rest.map((word) => word.split('=')).filter(([, value]) => value?.includes(':'))
        const images = Object.fromEntries(pairs) as Readonly<Record<string, string>>
        return { ...base, kind: 'release', images, shape }
      }
      case 'scales':
        return { ...base, kind: 'scale', service: subject, replicas: Number(rest.at(-1)) }
      case 'updates':
        return { ...base, kind: 'image', service: subject, image: rest.at(-1) ?? '' }
      case 'keeps': {
        const away = rest.at(-1) ?? ''
        const host = away === 'anywhere' ? undefined : this.world.hosts.indexOf(this.#host(away))
        return { ...base, kind: 'constrain', service: subject, host }
      }
      case 'rebalances':
        return { ...base, kind: 'rebalance', ...(subject !== '' && { service: subject }) }
      case 'makes':
        return { ...base, kind: 'contract', service: subject, exclusive: rest.at(-1) === 'exclusive' }
      case 'removes':
        return { ...base, kind: 'remove', service: subject }
      case 'sets': {
        const state = rest.at(-1) as Availability
        return { ...base, kind: 'availability', host: this.world.hosts.indexOf(this.#host(subject)), state }
      }
      case 'joins':
        return {
          ...base,
          kind: 'join',
          via: this.world.hosts.indexOf(this.#host(rest.at(-1) ?? '')),
          host: via,
        }
      default:
        throw new Error(`nobody knows how to "${command}"`)
    }
  }

  /** `host1 asks what would move` */
  async #moves(host: Host): Promise<readonly string[]> {
    const answer = await this.world.during(host.ask('POST', '/moot/v1/rebalance', { dryRun: true }))
    if (answer?.status !== 200) throw new Error(`${host.name} does not say what would move`)
    const { moves } = answer.body as {
      readonly moves: readonly {
        readonly task: string
        readonly from: { readonly id: NodeId }
        readonly to: { readonly id: NodeId }
      }[]
    }
    if (moves.length === 0) return ['  nothing']
    const { world } = this
    return moves.map(({ task, from, to }) => `  ${task} ${world.nameOf(from.id)} → ${world.nameOf(to.id)}`)
  }

  /** `host1 asks how far web` */
  async #status(host: Host, service: string): Promise<readonly string[]> {
    const answer = await this.world.during(host.ask('GET', `/services/${service}`))
    const { UpdateStatus } = (answer?.body ?? {}) as Partial<ServiceRow>
    return [`  ${UpdateStatus?.State ?? 'nothing to tell'}: ${UpdateStatus?.Message ?? ''}`]
  }

  /** What runs where, by slot. */
  #where(): readonly string[] {
    return this.world.hosts
      .flatMap(({ name, engine }) =>
        engine
          .containers()
          .filter(({ observation }) => observation.state === 'running')
          .map(({ setup }) => ({
            task: `${setup.service.name}.${setup.task.slot}`,
            image: setup.spec.TaskTemplate.ContainerSpec.Image,
            name,
          })),
      )
      .toSorted((a, b) => a.task.localeCompare(b.task, 'en', { numeric: true }))
      .map(({ task, image, name }) => `  ${task.padEnd(8)} ${image.padEnd(8)} ${name}`)
  }
}

const onFailures = ['continue', 'pause', 'rollback'] as const

/** `replicas=4 parallelism=2 order=start-first image=web:1 checked global exclusive` */
function shapeOf(service: string, words: readonly string[]): Shape {
  const value = (name: string): string | undefined =>
    words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1)
  return {
    image: value('image') ?? `${service}:1`,
    global: words.includes('global'),
    replicas: Number(value('replicas') ?? 1),
    checked: words.includes('checked'),
    exclusive: words.includes('exclusive'),
    probed: (['start', 'ready', 'live'] as const).filter((part) => words.includes(`probed=${part}`)),
    parallelism: Number(value('parallelism') ?? 1),
    order: value('order') === 'start-first' ? 'start-first' : 'stop-first',
    onFailure: onFailures.find((each) => words.includes(`on-failure=${each}`)) ?? 'pause',
  }
}
