import { Command } from 'commander'
import type { ConvertedStack } from '../compose/stack.ts'
import { type Context, contextOf, withCommon } from '../context.ts'
import type { ServiceAnswer, TaskAnswer } from '../docker-types.ts'
import { durationMs } from '../duration.ts'

interface DeployOptions {
  readonly composeFile: string
  readonly prune?: boolean
  readonly detach?: boolean
  readonly timeout: string
}

interface WriteAnswer {
  readonly ID?: string
  readonly Id?: string
  readonly Warnings?: readonly string[] | null
  readonly Warning?: string
}

export function deployCommand(): Command {
  return withCommon(new Command('deploy'))
    .summary('deploy a stack from a Compose file')
    .description(
      'Creates or updates the services of a Compose file, and waits until they run. A service whose update fails goes back to what ran before, unless its update_config says otherwise (failure_action).',
    )
    .argument('<stack>', 'name of the stack')
    .option('-c, --compose-file <path>', 'Compose file, - for standard input', 'docker-compose.yml')
    .option('--prune', 'remove services of the stack that the file no longer has')
    .option('-d, --detach', 'do not wait until the services run')
    .option('--timeout <duration>', 'how long to wait for the services to run', '5m')
    .addHelpText(
      'after',
      '\nExamples:\n  moot deploy -c stack.yml shop\n  moot deploy -c - shop < stack.yml\n  moot deploy --prune -c stack.yml shop',
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
      const existing = await stackServices(context, name)
      await createNetworks(context, stack)
      const changed = await writeServices(context, stack, existing)
      const removed = options.prune === true ? await prune(context, stack, existing) : []
      if (options.detach !== true) await waitUntilRunning(context, changed, existing, timeoutMs)
      if (context.json) context.print(JSON.stringify({ stack: name, services: changed, removed }, null, 2))
      else
        context.print(
          `${name}: ${changed.length} services deployed${removed.length > 0 ? `, ${removed.length} removed` : ''}`,
        )
    })
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
    const answer = await context.client.json<WriteAnswer>('POST', '/networks/create', { body: network })
    if (answer.Warning !== undefined && answer.Warning !== '')
      context.warn(`network ${network.Name}: ${answer.Warning}`)
  }
}

async function writeServices(
  context: Context,
  stack: ConvertedStack,
  existing: readonly ServiceAnswer[],
): Promise<string[]> {
  const byName = new Map(existing.map((service) => [service.Spec.Name, service]))
  const warned = new Set<string>()
  for (const spec of stack.services) {
    const before = byName.get(spec.Name)
    const answer =
      before === undefined
        ? await context.client.json<WriteAnswer>('POST', '/services/create', { body: spec })
        : await context.client.json<WriteAnswer>('POST', `/services/${before.ID}/update`, {
            query: { version: String(before.Version.Index) },
            body: spec,
          })
    for (const warning of answer.Warnings ?? []) {
      if (!warned.has(warning)) context.warn(`${spec.Name}: ${warning}`)
      warned.add(warning)
    }
  }
  return stack.services.map((spec) => spec.Name)
}

async function prune(
  context: Context,
  stack: ConvertedStack,
  existing: readonly ServiceAnswer[],
): Promise<string[]> {
  const kept = new Set(stack.services.map((spec) => spec.Name))
  const gone = existing.filter((service) => !kept.has(service.Spec.Name))
  for (const service of gone) await context.client.json('DELETE', `/services/${service.ID}`)
  return gone.map((service) => service.Spec.Name)
}

const pollMs = 250

async function waitUntilRunning(
  context: Context,
  names: readonly string[],
  existing: readonly ServiceAnswer[],
  timeoutMs: number,
): Promise<void> {
  const { Listr } = await import('listr2')
  const deadline = AbortSignal.timeout(timeoutMs)
  const list = new Listr(
    names.map((name) => ({
      title: name,
      task: (_: unknown, task: { title: string }) =>
        converge(context, { name, versionBefore: versionOf(existing, name) }, deadline, (text) => {
          task.title = `${name} ${text}`
        }),
    })),
    {
      concurrent: true,
      exitOnError: false,
      renderer: context.json ? 'silent' : process.stdout.isTTY ? 'default' : 'simple',
    },
  )
  await list.run()
  const [failed] = list.errors ?? []
  if (failed !== undefined) throw failed
}

function versionOf(services: readonly ServiceAnswer[], name: string): number | undefined {
  return services.find(({ Spec }) => Spec.Name === name)?.Version.Index
}

/** Until all wanted tasks run what the file says; throws when the update pauses or goes back, or the time is over. */
async function converge(
  context: Context,
  { name, versionBefore }: { readonly name: string; readonly versionBefore: number | undefined },
  deadline: AbortSignal,
  progress: (text: string) => void,
): Promise<void> {
  let why = 'see "moot service ps"'
  const filters = JSON.stringify({ name: [name] })
  for (;;) {
    const services = await context.client.json<ServiceAnswer[]>('GET', '/services', {
      query: { status: 'true', filters },
    })
    const service = services.find((each) => each.Spec.Name === name)
    if (service === undefined) throw new Error(`${name} was removed meanwhile`)
    const { RunningTasks: running = 0, DesiredTasks: desired = 0 } = service.ServiceStatus ?? {}
    const update = service.UpdateStatus?.State ?? ''
    const doing = update === 'updating' ? ' updating' : update === 'rollback_started' ? ' going back' : ''
    progress(`${running}/${desired}${doing}`)
    if (update === 'paused' || update === 'rollback_paused') {
      throw new Error(`${name}: the update is paused: ${service.UpdateStatus?.Message ?? ''}`)
    }
    if (update === 'rollback_started') why = service.UpdateStatus?.Message ?? why
    const isOurs = service.Version.Index !== versionBefore
    if (update === 'rollback_completed' && isOurs)
      throw new Error(`${name}: the update failed and is undone: ${why}`)
    if (running >= desired && update !== 'updating' && update !== 'rollback_started') return
    if (deadline.aborted)
      throw new Error(`${name}: ${running} of ${desired} run: ${await whyNot(context, service.ID)}`)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

async function whyNot(context: Context, service: string): Promise<string> {
  const filters = JSON.stringify({ service: [service] })
  const tasks = await context.client.json<TaskAnswer[]>('GET', '/tasks', { query: { filters } })
  const errors = new Set(tasks.map((task) => task.Status.Err ?? '').filter((text) => text !== ''))
  return errors.size === 0
    ? 'the others are still starting; "moot service ps" shows them'
    : [...errors].join('; ')
}
