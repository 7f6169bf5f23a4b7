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
}

/** One tree of files, sealed: same files, same digest. */
interface Layer {
  readonly tar: string
  readonly digest: string
}

const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }

async function sealLayer(tree: string, tar: string): Promise<Layer> {
  const reproducible = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--mtime=@0']
  await run('tar', ['-C', tree, ...reproducible, '-cf', tar, '.'])
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(tar)) hash.update(chunk as Buffer)
  return { tar, digest: hash.digest('hex') }
}

/**
 * Writes what `docker save` would: several images of one tree of files, that differ in their config alone. No engine
 * takes part, so the images are there before the first engine is. Returns each image's id (the digest of its config).
 */
export async function writeImageArchive(
  archive: string,
  tree: string,
  images: readonly Image[],
): Promise<ReadonlyMap<string, string>> {
  // Several runs may write at once: each in a folder of its own.
  const work = `${archive}.${process.pid}.parts`
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { recursive: true })
  const layer = await sealLayer(tree, join(work, 'layer.tar'))
  const ids = new Map<string, string>()
  const manifest: { Config: string; RepoTags: string[]; Layers: string[] }[] = []
  for (const { reference, config } of images) {
    const text = JSON.stringify({
      architecture: architectures[process.arch] ?? process.arch,
      os: 'linux',
      created: '1970-01-01T00:00:00Z',
      config,
      rootfs: { type: 'layers', diff_ids: [`sha256:${layer.digest}`] },
      history: [{ created: '1970-01-01T00:00:00Z', created_by: 'moot' }],
    })
    const digest = createHash('sha256').update(text).digest('hex')
    await writeFile(join(work, `${digest}.json`), text)
    ids.set(reference, `sha256:${digest}`)
    manifest.push({ Config: `${digest}.json`, RepoTags: [reference], Layers: ['layer.tar'] })
  }
  await writeFile(join(work, 'manifest.json'), JSON.stringify(manifest))
  // Under another name first: an interrupted run leaves no half archive that looks whole.
  await run('tar', ['-C', work, '-cf', `${work}.tar`, '.'])
  await rename(`${work}.tar`, archive)
  await rm(work, { recursive: true, force: true })
  return ids
}
