import type { Mount } from '@moot/crdt-state'
import { TaskRejectedError } from '../../ports/engine.errors.ts'
import type { Ownership } from './labels.ts'
import { label } from './labels.ts'
import { expandTemplate, type TemplateContext } from './template.ts'

export interface CreatedMount {
  readonly Type: Mount['Type']
  readonly Source?: string
}

/** Docker's Mount, as container create takes it: the same words as the service's. */
export function createMounts(
  mounts: readonly Mount[],
  template: TemplateContext,
  own: Ownership,
): readonly CreatedMount[] {
  return mounts.map((mount, index) => {
    const expand = (text: string, field: string): string =>
      expandTemplate(text, template, `Mounts[${index}].${field}`)
    const source = mount.Source === undefined ? '' : expand(mount.Source, 'Source')
    if (mount.Type === 'cluster' || mount.Type === 'npipe') {
      throw new TaskRejectedError(
        `mount type "${mount.Type}" is not supported: use volume, bind, tmpfs or image`,
      )
    }
    const { VolumeOptions: volume } = mount
    // Anonymous volumes die with their container, so only named ones are marked as ours (and tie a slot to its node).
    const marks =
      mount.Type === 'volume' && source !== '' ? { [label.cluster]: own.cluster, [label.node]: own.node } : {}
    return {
      Type: mount.Type,
      ...(source !== '' && { Source: source }),
      Target: expand(mount.Target, 'Target'),
      ...(mount.ReadOnly !== undefined && { ReadOnly: mount.ReadOnly }),
      ...(mount.Consistency !== undefined && { Consistency: mount.Consistency }),
      ...(mount.BindOptions !== undefined && { BindOptions: mount.BindOptions }),
      ...(mount.Type === 'volume' && {
        VolumeOptions: {
          ...volume,
          Labels: { ...expandAll(volume?.Labels, expand), ...marks },
          ...(volume?.DriverConfig !== undefined && {
            DriverConfig: {
              ...volume.DriverConfig,
              Options: expandAll(volume.DriverConfig.Options, expand),
            },
          }),
        },
      }),
      ...(mount.TmpfsOptions !== undefined && { TmpfsOptions: mount.TmpfsOptions }),
      ...(mount.ImageOptions !== undefined && { ImageOptions: mount.ImageOptions }),
    }
  })
}

function expandAll(
  map: Readonly<Record<string, string>> | undefined,
  expand: (text: string, field: string) => string,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(map ?? {}).map(([key, value]) => [key, expand(value, `VolumeOptions ${key}`)]),
  )
}

/** Of a container's body: the volumes that it uses and that have a name. */
export function namedVolumes(body: object): readonly string[] {
  const { HostConfig: { Mounts = [] } = {} } = body as {
    readonly HostConfig?: { readonly Mounts?: readonly CreatedMount[] }
  }
  return Mounts.flatMap(({ Type, Source }) => (Type === 'volume' && Source !== undefined ? [Source] : []))
}
