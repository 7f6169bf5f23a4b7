import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { allOf, changesBetween } from '../../core/network/name-changes.ts'
import type { NameTable } from '../../core/network/name-table.ts'
import {
  type NameServer,
  type NameServerCounts,
  NameServerUnavailableError,
} from '../../ports/name-server.ts'
import { Keeper, type KeeperSettings, type Link } from '../detached/keeper.ts'
import type { Place } from '../detached/launcher.ts'
import type { Program } from '../detached/program.ts'
import { nameServerProgram, programFlags } from './program.ts'
import { nameServerWire, type Question, type Reply } from './protocol.ts'

export interface NameServerPlace {
  /** In memory (/run), for root alone: the socket, the table, what it said. A path of at most 90 characters. */
  readonly directory: string
  readonly port: number
  /** Where the host's own name servers stand; /etc/resolv.conf. */
  readonly resolvConf?: string
  /** Where other name servers answer; 53. */
  readonly forwardPort?: number
  /** What is started; our own. */
  readonly program?: Program
}

export interface NameServerSetup extends NameServerPlace {
  readonly settings: KeeperSettings
  /** What happens to it while nobody waits. */
  readonly log: (line: string) => void
}

/** The name server in a process of its own, which is started when it is needed first and found again after a restart of the agent. */
export function processNameServer(setup: NameServerSetup): NameServer {
  return new NameServerClient(setup)
}

export function nameServerPlace(setup: NameServerPlace): Place<Question, Reply> {
  const { directory, port, resolvConf, forwardPort, program = nameServerProgram() } = setup
  const args = ['--port', String(port)]
  if (resolvConf !== undefined) args.push('--resolv-conf', resolvConf)
  if (forwardPort !== undefined) args.push('--forward-port', String(forwardPort))
  return { directory, port, program, flags: programFlags, args, wire: nameServerWire }
}

interface Said {
  readonly version: string
  readonly table: NameTable
}

class NameServerClient implements NameServer {
  readonly port: number
  readonly #directory: string
  readonly #keeper: Keeper<Question, Reply, NameTable, Said>
  readonly #name = randomUUID()
  #said = 0

  constructor(setup: NameServerSetup) {
    this.port = setup.port
    this.#directory = setup.directory
    this.#keeper = new Keeper({
      place: nameServerPlace(setup),
      settings: setup.settings,
      what: 'The name server',
      log: setup.log,
      say: (link, table) => this.#say(link, table),
      unavailable: (why, cause) => new NameServerUnavailableError(why, { cause }),
    })
  }

  publish(table: NameTable, signal: AbortSignal): Promise<void> {
    return this.#keeper.keep(table, signal)
  }

  async counts(signal: AbortSignal): Promise<NameServerCounts | undefined> {
    const reply = await this.#keeper.ask({ ask: 'counts' }, signal)
    return reply?.kind === 'counts' ? reply.counts : undefined
  }

  close(): Promise<void> {
    return this.#keeper.close()
  }

  async end(signal: AbortSignal): Promise<void> {
    await this.#keeper.end(signal)
    rmSync(join(this.#directory, 'table.json'), { force: true })
  }

  async #say(link: Link<Question, Reply, Said>, table: NameTable): Promise<boolean> {
    const { said } = link
    const changes = said === undefined ? allOf(table) : changesBetween(said.table, table)
    if (changes === undefined) return true
    const version = `${this.#name} ${this.#said++}`
    const reply = await link.line.ask({
      ask: 'publish',
      from: said?.version ?? null,
      to: version,
      changes,
    })
    if (reply.kind === 'failed') throw new Error(reply.why)
    if (reply.kind === 'published') link.said = { version, table }
    else delete link.said
    return reply.kind === 'published'
  }
}
