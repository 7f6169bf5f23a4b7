import { join } from 'node:path'
import { repository, type HostPlace } from './place.ts'
import { flags } from './shell.ts'

export interface AgentOptions {
  /** The program, relative to the repository: the sources, or a bundle (MOOT_AGENT=dist/agent.mjs). */
  readonly main?: string
  /** More MOOT_… settings, such as MOOT_GOSSIP=off. */
  readonly env?: Readonly<Record<string, string>>
  /** A program, and what it is told, that starts the agent in its own place: `setpriv --bounding-set=-net_admin` takes from it what a container does not have. */
  readonly through?: readonly string[]
}

/** Of this process; the agent gets its place by flags. */
const notPassedOn = new Set(['MOOT_BED', 'MOOT_HOST', 'MOOT_AGENT', 'MOOT_COMMAND', 'DOCKER_HOST'])

export function agentArguments(host: HostPlace, options: AgentOptions): string[] {
  return [
    // As in the bundle's first line (scripts/build.ts).
    '--max-semi-space-size=4',
    join(repository, options.main ?? process.env['MOOT_AGENT'] ?? 'packages/agent/src/main.ts'),
    ...flags({
      'data-dir': join(host.directory, 'agent'),
      socket: host.agentSocket,
      'docker-socket': host.engineSocket,
      advertise: host.address,
      'log-level': process.env['MOOT_LOG_LEVEL'] ?? 'info',
    }),
  ]
}

export function agentEnvironment(options: AgentOptions): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !notPassedOn.has(name))
  return { ...Object.fromEntries(inherited), ...options.env }
}
