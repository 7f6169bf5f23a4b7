import type { NetworkAbility } from '../../networks.ts'
import { notYet } from '../errors.ts'
import { isObject } from '../schema-errors.ts'

/**
 * What Moot cannot do yet is refused before anything is stored. Looks at the raw body: some of it is not even in the
 * schema (plugins, network attachments).
 */
export function refuseWhatIsNotThereYet(
  body: Readonly<Record<string, unknown>>,
  { ability }: { readonly ability: NetworkAbility['kind'] },
): void {
  const template = object(body['TaskTemplate'])
  const container = object(template['ContainerSpec'])
  const runtime = template['Runtime']
  if (filled(template['PluginSpec']) || runtime === 'plugin') {
    throw notYet(
      'Moot does not run plugins as services: install the plugin on each node (docker plugin install)',
    )
  }
  if (filled(template['NetworkAttachmentSpec']) || runtime === 'attachment') {
    throw notYet('Moot does not attach single containers to cluster networks yet')
  }
  const mode = object(body['Mode'])
  if (mode['ReplicatedJob'] !== undefined || mode['GlobalJob'] !== undefined) {
    throw notYet('Moot does not run jobs yet: use a replicated or global service')
  }
  if (filled(container['Secrets'])) {
    throw notYet('Moot does not hand out secrets yet: leave them out, or bind a file that is on every node')
  }
  if (filled(container['Configs'])) {
    throw notYet('Moot does not hand out configs yet: leave them out, or bind a file that is on every node')
  }
  if (filled(object(container['Privileges'])['CredentialSpec'])) {
    throw notYet('Moot does not support credential specs (they are for Windows containers)')
  }
  for (const mount of list(container['Mounts'])) {
    if (object(mount)['Type'] === 'cluster') {
      throw notYet('Moot does not support cluster (CSI) volumes: use a volume of a volume driver')
    }
  }
  if (ability === 'kernel') return
  for (const port of list(object(body['EndpointSpec'])['Ports'])) {
    const { PublishMode, TargetPort, Protocol } = object(port)
    const isPassedOn = ability === 'userland' && Protocol !== 'sctp'
    // With dnsrr Docker itself refuses an ingress port; that is a mistake and stays a 400.
    const isIngress =
      (PublishMode ?? 'ingress') === 'ingress' && object(body['EndpointSpec'])['Mode'] !== 'dnsrr'
    if (isIngress && !isPassedOn) {
      const what = ability === 'userland' ? 'an SCTP port' : 'ports'
      throw notYet(
        `this node cannot publish ${what} on every node ("moot status" says what is missing): publish port ${String(TargetPort)} on the nodes that run the service with mode=host, ` +
          `as in --publish mode=host,target=${String(TargetPort)},published=PORT (in a stack file: "mode: host")`,
      )
    }
  }
}

function object(value: unknown): Readonly<Record<string, unknown>> {
  return isObject(value) ? value : {}
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function filled(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0
  return isObject(value) && Object.keys(value).length > 0
}
