import { askedMoves, changedFields, releaseLabel, sameJson, type ServiceSpec } from '@moot/crdt-state'

/** `/A/B` → what people call it, and in what it is counted. The longest beginning counts. */
const nouns: readonly (readonly [string, string])[] = [
  ['/TaskTemplate/ContainerSpec/Image', 'image'],
  ['/TaskTemplate/ContainerSpec/Labels', 'container label'],
  ['/TaskTemplate/ContainerSpec/Command', 'entrypoint'],
  ['/TaskTemplate/ContainerSpec/Args', 'command'],
  ['/TaskTemplate/ContainerSpec/Healthcheck', 'health check'],
  ['/TaskTemplate/ContainerSpec/Mounts', 'mounts'],
  ['/TaskTemplate/ContainerSpec', ''],
  ['/TaskTemplate/Resources/Limits', 'limit of'],
  ['/TaskTemplate/Resources/Reservations', 'reservation of'],
  ['/TaskTemplate/RestartPolicy', 'restart policy'],
  ['/TaskTemplate/Placement', 'placement'],
  ['/TaskTemplate/Networks', 'networks'],
  ['/TaskTemplate/LogDriver', 'log driver'],
  ['/TaskTemplate', ''],
  ['/Mode/Replicated/Replicas', 'replicas'],
  ['/Mode', 'mode'],
  ['/UpdateConfig', 'update config'],
  ['/RollbackConfig', 'rollback config'],
  ['/EndpointSpec/Ports', 'ports'],
  ['/EndpointSpec', 'endpoint'],
  ['/Labels', 'label'],
]

const envPointer = '/TaskTemplate/ContainerSpec/Env'
const forcePointer = '/TaskTemplate/ForceUpdate'
/** Shown apart; and docker/cli's copy of the image's name. */
const silent: ReadonlySet<string> = new Set([`/Labels/${releaseLabel}`, '/Labels/com.docker.stack.image'])

/**
 * What a write changed, as people say it: `image web:1 → web:2`, `replicas 2 → 5`, `env FOO changed` (its value may be a
 * secret).
 *
 * @param written the pointers that the write itself wrote: what others wrote at the same time is not its doing.
 */
export function wordsOfChange(
  before: ServiceSpec,
  after: ServiceSpec,
  written: ReadonlySet<string>,
): readonly string[] {
  const words: string[] = []
  for (const [pointer, value] of changedFields(before, after)) {
    if (silent.has(pointer) || !written.has(pointer)) continue
    if (pointer === envPointer) words.push(...wordsOfEnvironment(before, after))
    else if (pointer === forcePointer) words.push('restarted by force')
    else words.push(wordsOfField(pointer, valueAt(before, pointer), value))
  }
  return words
}

export function wordsOfCreation(spec: ServiceSpec): readonly string[] {
  const { Replicated } = spec.Mode
  const count =
    Replicated === undefined ? Object.keys(spec.Mode).join() : `replicas ${Replicated.Replicas ?? 1}`
  return [`created: image ${spec.TaskTemplate.ContainerSpec.Image}, ${count}`]
}

/** Of slots that are asked to move at once so many are named. */
const namedMax = 10

/** Of facts that were written at once, by their keys (`updateFact`, `moveFact`). */
export function wordsOfFacts(keys: readonly string[], facts: ReadonlyMap<string, unknown>): string[] {
  const moves = askedMoves(new Map(keys.map((key) => [key, facts.get(key)])))
  const slots = [...new Set(moves.map(({ slot }) => slot))].toSorted((a, b) => a - b)
  const others = slots.length > namedMax ? ` and ${slots.length - namedMax} more` : ''
  return [
    ...keys.filter((key) => !key.startsWith('move/')).map((key) => wordsOfFact(key, facts.get(key))),
    ...(slots.length > 0 ? [`rebalanced: slots ${slots.slice(0, namedMax).join(', ')}${others}`] : []),
  ]
}

function wordsOfFact(key: string, value: unknown): string {
  const [kind, , release] = key.split('/')
  if (kind === 'completed') return 'update completed'
  if (kind === 'resumed') return 'paused update resumed'
  if (kind === 'vip') return `has the virtual IP ${String(value)}`
  if (kind === 'port') return `is published on port ${String(value)}`
  const { task, release: because } = (value ?? {}) as {
    readonly task?: string
    readonly release?: { readonly service: string }
  }
  const culprit = `task ${task ?? '(unknown)'}`
  return release === undefined
    ? `update failed, went back: ${culprit}`
    : `went back with its release ${release}: ${because?.service ?? 'another service'} failed: ${culprit}`
}

function wordsOfField(pointer: string, before: unknown, after: unknown): string {
  const [prefix, noun] = nouns
    .filter(([each]) => pointer === each || pointer.startsWith(`${each}/`))
    .toSorted(([a], [b]) => b.length - a.length)[0] ?? ['', '']
  const rest = pointer
    .slice(prefix.length + 1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .join(' ')
  const name = [noun, noun === 'label' || noun === 'container label' ? rest : spaced(rest)]
    .filter((part) => part !== '')
    .join(' ')
  if (isLong(before) || isLong(after)) return `${name} changed`
  return `${name} ${shown(pointer, before)} → ${shown(pointer, after)}`
}

/** `MaxFailureRatio` → `max failure ratio`. */
function spaced(name: string): string {
  return name.replaceAll(/(?<=[a-z])(?=[A-Z])/g, ' ').toLowerCase()
}

/** Lists and long texts would fill the row. */
function isLong(value: unknown): boolean {
  return typeof value === 'object' ? value !== null : typeof value === 'string' && value.length > 80
}

const durations = new Set([
  'Delay',
  'Monitor',
  'Window',
  'StopGracePeriod',
  'Interval',
  'Timeout',
  'StartPeriod',
  'StartInterval',
])

function shown(pointer: string, value: unknown): string {
  if (value === undefined || value === '') return 'none'
  const leaf = pointer.slice(pointer.lastIndexOf('/') + 1)
  if (typeof value !== 'number') return typeof value === 'string' ? value : JSON.stringify(value)
  if (durations.has(leaf)) return `${value / 1e9} s`
  if (leaf.endsWith('Bytes')) return `${Math.round(value / 2 ** 20)} MiB`
  if (leaf === 'NanoCPUs') return `${value / 1e9} CPU`
  return String(value)
}

function wordsOfEnvironment(before: ServiceSpec, after: ServiceSpec): readonly string[] {
  const variables = ({ TaskTemplate }: ServiceSpec): ReadonlyMap<string, string> =>
    new Map((TaskTemplate.ContainerSpec.Env ?? []).map((text) => [text.split('=', 1)[0] ?? '', text]))
  const [old, now] = [variables(before), variables(after)]
  const words = [...new Set([...old.keys(), ...now.keys()])].toSorted().flatMap((name) => {
    if (sameJson(old.get(name), now.get(name))) return []
    return [`env ${name} ${!old.has(name) ? 'added' : !now.has(name) ? 'removed' : 'changed'}`]
  })
  return words.length > 0 ? words : ['env in another order']
}

function valueAt(spec: ServiceSpec, pointer: string): unknown {
  let inner: unknown = spec
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    inner = (inner as Readonly<Record<string, unknown>> | undefined)?.[key]
  }
  return inner
}
