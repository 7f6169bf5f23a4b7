import type { ServiceSpec } from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import { goDurationMs } from './go-duration.ts'
import { type HealthCheck, type HealthProbe, type HealthProbes, type ProbeRole, probeRoles } from './probe.ts'

type Labels = Readonly<Record<string, string>>
type Settings = { -readonly [Name in Exclude<keyof HealthProbe, 'check'>]?: HealthProbe[Name] }

export interface HealthLabels {
  /** All that can be understood. */
  readonly probes: HealthProbes
  /** What cannot, each as a sentence that says what is wrong and what to write. */
  readonly problems: readonly string[]
}

const prefix = 'moot.health.'
const name = /^(?:(startup|live)\.)?(http|tcp|interval|timeout|retries|start_period)$/
const settingOf = {
  interval: 'intervalMs',
  timeout: 'timeoutMs',
  retries: 'retries',
  start_period: 'startPeriodMs',
} as const
const dayMs = 86_400_000

interface Drawn {
  readonly checks: Map<ProbeRole, HealthCheck>
  readonly settings: Map<ProbeRole | 'all', Settings>
  readonly problems: string[]
}

/**
 * `moot.health.http=8080/ready` and its like: labels of the service (`deploy.labels` in Compose), or of its container
 * (`labels`). Where both speak of one thing the service's count: they can be changed without a new task.
 */
export function readHealthLabels(service: Labels, container: Labels = {}): HealthLabels {
  const drawn: Drawn = { checks: new Map(), settings: new Map(), problems: [] }
  for (const labels of [container, service]) read(labels, drawn)
  const { checks, settings, problems } = drawn
  for (const scope of settings.keys()) {
    if (scope === 'all' ? checks.size > 0 : checks.has(scope)) continue
    const label = `${prefix}${scope === 'all' ? '' : `${wordOf(scope)}.`}`
    problems.push(
      `${label}interval, timeout, retries and start_period say how a probe is made, and there is none: add ${label}http=PORT/PATH or ${label}tcp=PORT, or take them away`,
    )
  }
  const probes: { [Role in ProbeRole]?: HealthProbe } = {}
  for (const role of probeRoles) {
    const check = checks.get(role)
    if (check === undefined) continue
    probes[role] = { check, ...usual, ...settings.get('all'), ...settings.get(role) }
  }
  return { probes, problems }
}

const usual = {
  intervalMs: defaults.healthIntervalMs,
  timeoutMs: defaults.healthTimeoutMs,
  retries: defaults.healthRetries,
  startPeriodMs: 0,
} as const

/** In labels the role of a probe that decides on readiness is not said. */
function wordOf(role: ProbeRole): string {
  return role === 'liveness' ? 'live' : role
}

function read(labels: Labels, { checks, settings, problems }: Drawn): void {
  const own = new Map<ProbeRole, string>()
  for (const [label, value] of Object.entries(labels)) {
    if (label !== 'moot.health' && !label.startsWith(prefix)) continue
    const [, word, field] = name.exec(label.slice(prefix.length)) ?? []
    if (field === undefined) {
      problems.push(
        `${label} is no label of Moot's: write moot.health.http, moot.health.live.http or moot.health.startup.http, or .tcp instead of .http; and moot.health.interval, .timeout, .retries and .start_period for all, moot.health.live.interval and so on for one`,
      )
      continue
    }
    if (field === 'http' || field === 'tcp') {
      const role = word === 'live' ? 'liveness' : (word ?? 'readiness')
      const other = own.get(role as ProbeRole)
      if (other !== undefined)
        problems.push(`${other} and ${label} exclude each other: take one of them away`)
      own.set(role as ProbeRole, label)
      const check = field === 'http' ? httpCheck(value) : tcpCheck(value)
      if (typeof check === 'string') problems.push(`${label}=${value.slice(0, 200)}: ${check}`)
      else checks.set(role as ProbeRole, check)
      continue
    }
    const scope = word === 'live' ? 'liveness' : ((word ?? 'all') as ProbeRole | 'all')
    const setting = field === 'retries' ? retriesOf(value) : durationOf(field as Duration, value)
    const known = settings.get(scope) ?? {}
    if (typeof setting === 'string') problems.push(`${label}=${value.slice(0, 200)}: ${setting}`)
    // Docker: 0 stands for the default.
    else if (setting > 0) known[settingOf[field as keyof typeof settingOf]] = setting
    settings.set(scope, known)
  }
}

type Duration = Exclude<keyof typeof settingOf, 'retries'>

function httpCheck(value: string): HealthCheck | string {
  // What an HTTP request can carry as it is; everything else is written with %.
  const [, port, path = '/'] = /^(\d+)(\/[!-~]*)?$/.exec(value) ?? []
  if (port === undefined || path.length > 2_000)
    return 'write a port and a path, as in 8080/ready, the path without spaces'
  return portOf(port) === undefined
    ? 'a port is a number from 1 to 65535'
    : { kind: 'http', port: Number(port), path }
}

function tcpCheck(value: string): HealthCheck | string {
  const port = portOf(value)
  return port === undefined ? 'write a port, as in 5432, from 1 to 65535' : { kind: 'tcp', port }
}

function portOf(text: string): number | undefined {
  const port = /^\d+$/.test(text) ? Number(text) : 0
  return port >= 1 && port <= 65_535 ? port : undefined
}

function retriesOf(value: string): number | string {
  const retries = /^\d+$/.test(value) ? Number(value) : -1
  return retries >= 0 && retries <= 1_000_000 ? retries : 'write a number, as in 3'
}

function durationOf(field: Duration, value: string): number | string {
  const ms = goDurationMs(value)
  if (ms === undefined) return 'write a duration as Docker does, as in 5s, 500ms or 1m30s'
  const leastMs = field === 'interval' ? defaults.healthIntervalMinMs : 1
  if (ms !== 0 && ms < leastMs) return `it is at least ${leastMs}ms`
  return ms > dayMs ? 'it is at most 24h' : Math.ceil(ms)
}

const none: HealthProbes = {}
/** Specs are immutable, and asked for their probes in every reconciliation. */
const known = new WeakMap<ServiceSpec, HealthProbes>()

/** Of what two people wrote at once something may not be understood: the rest counts. */
export function probesOf(spec: ServiceSpec): HealthProbes {
  let probes = known.get(spec)
  if (probes === undefined) {
    const read = readHealthLabels(spec.Labels, spec.TaskTemplate.ContainerSpec.Labels).probes
    probes = hasProbes(read) ? read : none
    known.set(spec, probes)
  }
  return probes
}

export function hasProbes(probes: HealthProbes): boolean {
  return probeRoles.some((role) => probes[role] !== undefined)
}
