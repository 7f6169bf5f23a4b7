import { homedir } from 'node:os'
import { isAbsolute, resolve } from 'node:path'
import type { Mount } from '@moot/crdt-state'
import { type ConvertContext, given, stringOptions } from './context.ts'
import type { ServiceFile } from './schema.ts'
import { bytes, ComposeError, labels } from './values.ts'

/** `tmpfs: PATH`. */
export function convertTmpfs(target: string): Mount {
  return { Type: 'tmpfs', Target: target.split(':')[0] ?? target }
}

/** A volume, short or long. */
export function convertVolume(
  context: ConvertContext,
  volume: NonNullable<ServiceFile['volumes']>[number],
  field: string,
): Mount {
  const long = typeof volume === 'string' ? shortVolume(volume, field) : volume
  if (!isAbsolute(long.target))
    throw new ComposeError(`${field}: the target "${long.target}" is not an absolute path`)
  const mount = given({
    Type: long.type,
    Target: long.target,
    ReadOnly: long.read_only,
    Consistency: long.consistency,
  })
  switch (long.type) {
    case 'bind':
      if (long.source === undefined) throw new ComposeError(`${field}: a bind mount needs a source`)
      return given({
        ...mount,
        Source: hostPath(context, long.source),
        BindOptions:
          long.bind?.propagation === undefined ? undefined : { Propagation: long.bind.propagation },
      }) as Mount
    case 'tmpfs': {
      const { size, mode: fileMode } = long.tmpfs ?? {}
      const TmpfsOptions = given({
        SizeBytes: size === undefined ? undefined : bytes(size, `${field}.tmpfs.size`),
        Mode: fileMode,
      })
      return given({ ...mount, TmpfsOptions: long.tmpfs === undefined ? undefined : TmpfsOptions })
    }
    case 'volume':
      return namedVolume(context, long.source, long.volume ?? {}, mount, field)
    case 'npipe':
    case 'cluster':
      return given({ ...mount, Source: long.source })
  }
}

function namedVolume(
  context: ConvertContext,
  source: string | undefined,
  options: { nocopy?: boolean | undefined; subpath?: string | undefined },
  mount: Mount,
  field: string,
): Mount {
  const chosen = { NoCopy: options.nocopy, Subpath: options.subpath }
  if (source === undefined || source === '') {
    return given({
      ...mount,
      VolumeOptions: Object.values(chosen).some((each) => each !== undefined) ? given(chosen) : undefined,
    })
  }
  if (!(source in context.stack.volumes)) {
    throw new ComposeError(`${field}: the volume "${source}" is not among the file's volumes`)
  }
  const volume = context.stack.volumes[source]
  const outside = volume?.external
  if (outside !== undefined && outside !== false) {
    const name = typeof outside === 'object' ? outside.name : undefined
    return given({ ...mount, Source: name ?? volume?.name ?? source, VolumeOptions: given(chosen) })
  }
  const driver = volume?.driver
  return given({
    ...mount,
    Source: volume?.name ?? `${context.namespace}_${source}`,
    VolumeOptions: given({
      ...chosen,
      Labels: { ...labels(volume?.labels), 'com.docker.stack.namespace': context.namespace },
      DriverConfig:
        driver === undefined && volume?.driver_opts === undefined
          ? undefined
          : given({ Name: driver, Options: stringOptions(volume?.driver_opts) }),
    }),
  })
}

type LongVolume = Exclude<NonNullable<ServiceFile['volumes']>[number], string>

const propagations = new Set(['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'])

/** `[SOURCE:]TARGET[:MODE]`; a source that begins with `.`, `/` or `~` is a path of the host. */
function shortVolume(text: string, field: string): LongVolume {
  const [first = '', second, modes] = text.split(':')
  if (text.split(':').length > 3 || first === '')
    throw new ComposeError(`${field}: "${text}" is no volume: write SOURCE:TARGET[:ro]`)
  if (second === undefined) return { type: 'volume', target: first }
  const volume: LongVolume = { type: /^[./~]/.test(first) ? 'bind' : 'volume', source: first, target: second }
  for (const each of modes?.split(',') ?? []) {
    if (each === 'ro') volume.read_only = true
    else if (each === 'nocopy') volume.volume = { nocopy: true }
    else if (propagations.has(each)) volume.bind = { propagation: each }
    else if (!['rw', 'z', 'Z', 'cached', 'delegated', 'consistent'].includes(each)) {
      throw new ComposeError(`${field}: "${each}" is no option of a volume`)
    }
  }
  return volume
}

function hostPath(context: ConvertContext, source: string): string {
  if (source === '~' || source.startsWith('~/')) return homedir() + source.slice(1)
  return resolve(context.directory, source)
}
