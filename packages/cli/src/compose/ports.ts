import type { PortConfig } from '@moot/crdt-state'
import { given } from './context.ts'
import type { ServiceFile } from './schema.ts'
import { ComposeError } from './values.ts'

const portPattern =
  /^(?:(?<ip>\[[^\]]+\]|\d+(?:\.\d+){3}):)?(?:(?<published>\d+(?:-\d+)?):)?(?<target>\d+(?:-\d+)?)(?:\/(?<protocol>\w+))?$/

/** A port, short or long; a range is several. */
export function convertPort(port: NonNullable<ServiceFile['ports']>[number], field: string): PortConfig[] {
  if (typeof port === 'object') {
    return [
      given({
        Name: port.name,
        Protocol: port.protocol as PortConfig['Protocol'] | undefined,
        TargetPort: port.target,
        PublishedPort: port.published === undefined ? undefined : Number(port.published),
        PublishMode: port.mode ?? 'ingress',
      }),
    ]
  }
  const groups = portPattern.exec(String(port))?.groups
  if (groups?.['target'] === undefined)
    throw new ComposeError(`${field}: "${port}" is no port: write it like 80, 8080:80 or 8080:80/udp`)
  if (groups['ip'] !== undefined) {
    throw new ComposeError(
      `${field}: "${port}" names a host address, which a service on many hosts cannot have: leave it out`,
    )
  }
  const targets = range(groups['target'])
  const published = groups['published'] === undefined ? undefined : range(groups['published'])
  if (published !== undefined && published.length !== targets.length) {
    throw new ComposeError(`${field}: the ranges of "${port}" differ in length`)
  }
  return targets.map(
    (TargetPort, index) =>
      given({
        Protocol: (groups['protocol'] ?? 'tcp') as PortConfig['Protocol'],
        TargetPort,
        PublishedPort: published?.[index],
        PublishMode: 'ingress',
      }) as PortConfig,
  )
}

function range(text: string): number[] {
  const [first = 0, last = first] = text.split('-').map(Number)
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index)
}
