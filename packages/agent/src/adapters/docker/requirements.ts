import type { ServiceSpec } from '@moot/crdt-state'
import { TaskRejectedError } from '../../ports/engine.errors.ts'
import { compareVersions } from './api-version.ts'

interface Requirement {
  readonly field: string
  /** Engine API version that knows the field; older engines drop it without a word. `never` = Moot does not do it. */
  readonly since: string
  readonly used: (spec: ServiceSpec) => unknown
}

const mountsOf = (spec: ServiceSpec) => spec.TaskTemplate.ContainerSpec.Mounts ?? []

/** Fields that an engine older than `since` ignores silently (Engine API version history). */
const requirements: readonly Requirement[] = [
  {
    field: 'Healthcheck.StartInterval',
    since: '1.44',
    used: (spec) => spec.TaskTemplate.ContainerSpec.Healthcheck?.StartInterval,
  },
  {
    field: 'VolumeOptions.Subpath',
    since: '1.45',
    used: (spec) => mountsOf(spec).some((mount) => mount.VolumeOptions?.Subpath),
  },
  {
    field: 'BindOptions.CreateMountpoint',
    since: '1.42',
    used: (spec) => mountsOf(spec).some((mount) => mount.BindOptions?.CreateMountpoint),
  },
  {
    field: 'BindOptions.ReadOnlyNonRecursive',
    since: '1.44',
    used: (spec) => mountsOf(spec).some((mount) => mount.BindOptions?.ReadOnlyNonRecursive),
  },
  {
    field: 'BindOptions.ReadOnlyForceRecursive',
    since: '1.44',
    used: (spec) => mountsOf(spec).some((mount) => mount.BindOptions?.ReadOnlyForceRecursive),
  },
  {
    field: 'TmpfsOptions.Options',
    since: '1.46',
    used: (spec) => mountsOf(spec).some((mount) => mount.TmpfsOptions?.Options?.length),
  },
  {
    field: 'mount type image',
    since: '1.48',
    used: (spec) => mountsOf(spec).some((mount) => mount.Type === 'image'),
  },
]

/** Fields that this adapter cannot honour on any engine. */
const unsupported: readonly Omit<Requirement, 'since'>[] = [
  { field: 'Secrets', used: (spec) => spec.TaskTemplate.ContainerSpec.Secrets?.length },
  { field: 'Configs', used: (spec) => spec.TaskTemplate.ContainerSpec.Configs?.length },
  {
    field: 'Privileges.CredentialSpec',
    used: (spec) => spec.TaskTemplate.ContainerSpec.Privileges?.CredentialSpec,
  },
]

/** Nothing that was asked for is silently left out: refuses what this engine would ignore. */
export function refuseWhatIsIgnored(spec: ServiceSpec, apiVersion: string): void {
  for (const { field, used } of unsupported) {
    if (used(spec)) throw new TaskRejectedError(`${field} is not supported by Moot's engine adapter`)
  }
  for (const { field, since, used } of requirements) {
    if (used(spec) && compareVersions(apiVersion, since) < 0) {
      throw new TaskRejectedError(
        `${field} needs an engine with API ${since} or newer; this node's engine speaks ${apiVersion}`,
      )
    }
  }
}
