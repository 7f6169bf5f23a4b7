import { Command } from 'commander'
import type { ConvertedStack } from '../compose/stack.ts'
import { type Context, contextOf, withCommon } from '../context.ts'
import { newDistinction } from '../distinction.ts'
import type { ServiceAnswer } from '../docker-types.ts'
import { durationMs } from '../duration.ts'
import { hasFailed, isWell, type Written } from '../verdict.ts'
import { type Seen, watchServices } from '../watch.ts'

interface DeployOptions {
  readonly composeFile: string
  readonly prune?: boolean
  readonly detach?: boolean
  readonly atomic: boolean
  readonly timeout: string
}

export interface DeployAnswer {
  readonly release?: string
  readonly services: readonly (Written & { readonly warnings: readonly string[] })[]
}

export function deployCommand(): Command {
  return withCommon(new Command('deploy'))
    .summary('deploy a stack from a Compose file')
    .description(
      'Creates or updates the services of a Compose file as one release, and waits until they run. A service whose update fails goes back to what ran before, unless its update_config says otherwise (failure_action); and with it, unless --no-atomic, all that this release changed in the others.',
    )
    .argument('<stack>', 'name of the stack')
    .option('-c, --compose-file <path>', 'Compose file, - for standard input', 'docker-compose.yml')
    .option('--prune', 'remove services of the stack that the file no longer has')
    .option('--no-atomic', 'no one outcome: each service stays or goes back by itself')
    .option('-d, --detach', 'do not wait until the services run')
    .option('--timeout <duration>', 'how long to wait for the services to run', '5m')
    .addHelpText(
      'after',
      '\nExamples:\n  moot deploy -c stack.yml shop\n  moot deploy -c - shop < stack.yml\n  moot deploy --prune -c stack.yml shop\n  moot deploy --no-atomic -c stack.yml shop',
    )
    .action(async (name: string, options: DeployOptions, command: Command) => {
      const context = contextOf(command)
      const timeoutMs = durationMs(options.timeout)
      // Loaded only here: no other command needs YAML and its schema, and they double the time to start.
      const [{ loadStack }, { convertStack }] = await Promise.all([
        import('../compose/load.ts'),
        import('../compose/stack.ts'),
      ])
      const stack = goingBack(convertStack(name, loadStack(options.composeFile, process.env), process.env))
      for (const warning of stack.warnings) context.warn(warning)
      await createNetworks(context, stack)
      const { release, services } = await writeServices(context, name, stack, options.atomic)
      const removed = options.prune === true ? await prune(context, name, stack) : []
      const seen =
        options.detach === true || services.length === 0
          ? []
          : await watchServices(context, { subject: `stack/${name}`, services, release, timeoutMs })
      if (context.json) printJson(context, { stack: name, release, services, removed, seen })
      judge(name, release, seen)
      if (!context.json) context.print(summary(name, release, services, removed))
    })
}

function summary(
  name: string,
  release: string | undefined,
  services: readonly Written[],
  removed: readonly string[],
): string {
  const unchanged = services.filter(({ change }) => change === 'unchanged').length
  return [
    `${name}: ${services.length - unchanged} services deployed`,
    ...(unchanged > 0 ? [`${unchanged} unchanged`] : []),
    ...(removed.length > 0 ? [`${removed.length} removed`] : []),
    ...(release === undefined ? [] : [`release ${release}`]),
  ].join(', ')
}

/** What a script wants to know, whatever came of it. */
export function printJson(
  context: Context,
  {
    seen,
    services,
    ...rest
  }: Readonly<Record<string, unknown>> & {
    readonly services: readonly Written[]
    readonly seen: readonly Seen[]
  },
): void {
  const rows = services.map(({ id, name, version, change }) => {
    const found = seen.find(({ written }) => written.id === id)
    return {
      id,
      name,
      version,
      change,
      ...(found !== undefined && { outcome: found.fate.kind, said: found.word }),
    }
  })
  context.print(JSON.stringify({ ...rest, services: rows }, null, 2))
}

/** Docker's default is to pause, and leaves half of the replicas on a bad image until somebody comes. */
function goingBack(stack: ConvertedStack): ConvertedStack {
  const services = stack.services.map((spec) => ({
    ...spec,
    UpdateConfig: { Parallelism: 1, FailureAction: 'rollback' as const, ...spec.UpdateConfig },
  }))
  return { ...stack, services }
}

async function stackServices(context: Context, name: string): Promise<ServiceAnswer[]> {
  const filters = JSON.stringify({ label: [`com.docker.stack.namespace=${name}`] })
  return context.client.json<ServiceAnswer[]>('GET', '/services', { query: { filters } })
}

async function createNetworks(context: Context, stack: ConvertedStack): Promise<void> {
  if (stack.networks.length + stack.externalNetworks.length === 0) return
  const known = new Set(
    (await context.client.json<{ Name: string }[]>('GET', '/networks')).map((network) => network.Name),
  )
  for (const name of stack.externalNetworks) {
    if (!known.has(name))
      throw new Error(`network "${name}" is declared as external, but does not exist: create it first`)
  }
  for (const network of stack.networks) {
    if (known.has(network.Name)) continue
    const answer = await context.client.json<{ readonly Warning?: string }>('POST', '/networks/create', {
      body: network,
    })
    if (answer.Warning !== undefined && answer.Warning !== '')
      context.warn(`network ${network.Name}: ${answer.Warning}`)
  }
}

/** All in one request: who is killed in the middle of it leaves no half of a release behind. */
async function writeServices(
  context: Context,
  name: string,
  stack: ConvertedStack,
  atomic: boolean,
): Promise<DeployAnswer> {
  if (stack.services.length === 0) return { services: [] }
  const answer = await context.client.json<DeployAnswer>(
    'POST',
    `/moot/v1/deploy/${encodeURIComponent(name)}`,
    { body: { ...(atomic && { release: newDistinction() }), services: stack.services } },
  )
  const warned = new Set<string>()
  for (const service of answer.services) {
    for (const warning of service.warnings) {
      if (!warned.has(warning)) context.warn(`${service.name}: ${warning}`)
      warned.add(warning)
    }
  }
  return answer
}

async function prune(context: Context, name: string, stack: ConvertedStack): Promise<string[]> {
  const existing = await stackServices(context, name)
  const kept = new Set(stack.services.map((spec) => spec.Name))
  const gone = existing.filter((service) => !kept.has(service.Spec.Name))
  for (const service of gone) await context.client.json('DELETE', `/services/${service.ID}`)
  return gone.map((service) => service.Spec.Name)
}

/** Throws unless all of it is what was asked for. */
export function judge(name: string, release: string | undefined, seen: readonly Seen[]): void {
  if (seen.every(({ fate }) => isWell(fate))) return
  const hasGoneBack = seen.some(({ fate }) => hasFailed(fate))
  const title =
    release !== undefined && hasGoneBack
      ? `release ${release} of ${name} has failed and went back:`
      : `${name} is not what was asked for:`
  throw new Error([title, ...seen.flatMap(({ word }) => (word === undefined ? [] : `  ${word}`))].join('\n'))
}
