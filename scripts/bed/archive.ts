import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './shell.ts'

/** The part of Docker's image config that we set (moby `image/spec/v1.2`). Durations in nanoseconds. */
export interface ImageConfig {
  readonly Cmd?: readonly string[]
  readonly Entrypoint?: readonly string[]
  readonly Env?: readonly string[]
  readonly WorkingDir?: string
  readonly ExposedPorts?: Readonly<Record<string, Record<string, never>>>
  readonly Labels?: Readonly<Record<string, string>>
  readonly Healthcheck?: {
    readonly Test: readonly string[]
    readonly Interval?: number
    readonly Timeout?: number
    readonly Retries?: number
    readonly StartPeriod?: number
  }
}

export interface Image {
  readonly reference: string
  readonly config: ImageConfig
  /** Directories whose files it is made of, the lowest first. Images that name the same directory share it as a layer. */
  readonly trees: readonly string[]
}

/** One tree of files, sealed: same files, same digest. */
interface Layer {
  readonly file: string
  readonly digest: string
}

const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }

async function sealLayer(tree: string, directory: string, file: string): Promise<Layer> {
  const reproducible = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--mtime=@0']
  const tar = join(directory, file)
  await run('tar', ['-C', tree, ...reproducible, '-cf', tar, '.'])
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(tar)) hash.update(chunk as Buffer)
  return { file, digest: hash.digest('hex') }
}

/**
 * Writes what `docker save` would. No engine takes part, so the images are there before the first engine is. Returns
 * each image's id (the digest of its config).
 */
export async function writeImageArchive(
  archive: string,
  images: readonly Image[],
): Promise<ReadonlyMap<string, string>> {
  // Several runs may write at once: each in a folder of its own.
  const work = `${archive}.${process.pid}.parts`
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { recursive: true })
  const layers = new Map<string, Layer>()
  for (const tree of new Set(images.flatMap(({ trees }) => trees))) {
    layers.set(tree, await sealLayer(tree, work, `layer${layers.size}.tar`))
  }
  const ids = new Map<string, string>()
  const manifest: { Config: string; RepoTags: string[]; Layers: string[] }[] = []
  for (const { reference, config, trees } of images) {
    const own = trees.flatMap((tree) => layers.get(tree) ?? [])
    const text = JSON.stringify({
      architecture: architectures[process.arch] ?? process.arch,
      os: 'linux',
      created: '1970-01-01T00:00:00Z',
      config,
      rootfs: { type: 'layers', diff_ids: own.map(({ digest }) => `sha256:${digest}`) },
      history: own.map(() => ({ created: '1970-01-01T00:00:00Z', created_by: 'moot' })),
    })
    const digest = createHash('sha256').update(text).digest('hex')
    await writeFile(join(work, `${digest}.json`), text)
    ids.set(reference, `sha256:${digest}`)
    manifest.push({ Config: `${digest}.json`, RepoTags: [reference], Layers: own.map(({ file }) => file) })
  }
  await writeFile(join(work, 'manifest.json'), JSON.stringify(manifest))
  // Under another name first: an interrupted run leaves no half archive that looks whole.
  await run('tar', ['-C', work, '-cf', `${work}.tar`, '.'])
  await rename(`${work}.tar`, archive)
  await rm(work, { recursive: true, force: true })
  return ids
}
