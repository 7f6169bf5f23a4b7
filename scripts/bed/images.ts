import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { chmod, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeImageArchive, type Image } from './archive.ts'
import { cacheDirectory } from './place.ts'
import { attempt, run } from './shell.ts'
import { plantBusybox } from './trees.ts'

/** `docker save` archives; nodes load from here, for no registry may be reachable. */
export const imageDirectory = join(cacheDirectory, 'images')

export interface ImageArchive {
  readonly path: string
  /** Image reference to image id. */
  readonly ids: ReadonlyMap<string, string>
}

/**
 * PID 1 of the test images: a web server that answers its version and host name at /, says each request on stdout,
 * and ends at once on SIGTERM (busybox as PID 1 would ignore it). PORT moves it.
 */
const serve = `#!/bin/sh
echo "$VERSION $(hostname)" > /www/index.html
httpd -f -vv -p "\${PORT:-80}" -h /www 2>&1 &
trap 'kill $!; echo "$VERSION ends on SIGTERM"; exit 0' TERM INT
echo "$VERSION serves on port \${PORT:-80}"
wait $!
`

const second = 1_000_000_000
const server = { Cmd: ['/serve'], ExposedPorts: { '80/tcp': {} } } as const
const path = 'PATH=/bin'
const probe = [
  'CMD-SHELL',
  `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 1 127.0.0.1 "\${PORT:-80}" | grep -q '200 OK'`,
]

const testImages: readonly Omit<Image, 'trees'>[] = [
  { reference: 'moot/test:1', config: { ...server, Env: [path, 'VERSION=v1'] } },
  { reference: 'moot/test:2', config: { ...server, Env: [path, 'VERSION=v2'] } },
  {
    reference: 'moot/test:healthy',
    config: {
      ...server,
      Env: [path, 'VERSION=v1'],
      Healthcheck: { Test: probe, Interval: second, Timeout: second, Retries: 2 },
    },
  },
  {
    reference: 'moot/test:sick',
    config: {
      ...server,
      Env: [path, 'VERSION=sick'],
      Healthcheck: { Test: ['CMD', 'false'], Interval: second, Timeout: second, Retries: 2 },
    },
  },
  {
    reference: 'moot/test:bad',
    config: {
      Env: [path, 'VERSION=bad'],
      Cmd: ['sh', '-c', 'echo "cannot start: this image is bad" >&2; exit 1'],
    },
  },
]

/** The test images' archive, made where its inputs changed since the last time. */
export async function ensureTestImages(): Promise<ImageArchive> {
  const busybox = (await run('sh', ['-c', 'command -v busybox'])).trim()
  const inputs = createHash('sha256')
    .update(readFileSync(busybox))
    .update(readFileSync(new URL('./archive.ts', import.meta.url)))
    .update(readFileSync(new URL('./trees.ts', import.meta.url)))
    .update(readFileSync(new URL(import.meta.url)))
    .digest('hex')
  return cachedTrees('moot-test', inputs, async (tree) => {
    await plantBusybox(tree, busybox)
    await mkdir(join(tree, 'www'))
    await chmod(join(tree, 'www'), 0o777)
    await writeFile(join(tree, 'serve'), serve, { mode: 0o755 })
    return testImages.map((image) => ({ ...image, trees: [tree] }))
  })
}

/** Of images whose files are planted in a directory that is there for as long as it takes. */
export function cachedTrees(
  name: string,
  inputs: string,
  plant: (directory: string) => Promise<readonly Image[]>,
): Promise<ImageArchive> {
  return cached(name, inputs, async (archive) => {
    const directory = `${archive}.${process.pid}.trees`
    try {
      return await writeImageArchive(archive, await plant(directory))
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
}

/** An archive stands with a small file beside it that says from what it was made and what is in it. */
export async function cached(
  name: string,
  inputs: string,
  make: (archive: string) => Promise<ReadonlyMap<string, string>>,
): Promise<ImageArchive> {
  const archive = join(imageDirectory, `${name}.tar`)
  const receipt = join(imageDirectory, `${name}.json`)
  if (existsSync(archive) && existsSync(receipt)) {
    const kept = JSON.parse(readFileSync(receipt, 'utf8')) as { inputs: string; ids: Record<string, string> }
    if (kept.inputs === inputs) return { path: archive, ids: new Map(Object.entries(kept.ids)) }
  }
  await mkdir(imageDirectory, { recursive: true })
  const ids = await make(archive)
  await writeFile(`${receipt}.${process.pid}`, JSON.stringify({ inputs, ids: Object.fromEntries(ids) }))
  await rename(`${receipt}.${process.pid}`, receipt)
  return { path: archive, ids }
}

/** Whether an image of that name is in the machine's own engine. */
export async function machineHasImage(reference: string): Promise<boolean> {
  return (await attempt('docker', ['image', 'inspect', reference])) !== undefined
}
