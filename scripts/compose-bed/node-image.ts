import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync, realpathSync } from 'node:fs'
import { chmod, copyFile, cp, link, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeImageArchive } from '../bed/archive.ts'
import { cached, type ImageArchive } from '../bed/images.ts'
import { cacheDirectory, repository } from '../bed/place.ts'
import { attempt, run } from '../bed/shell.ts'
import { plantProgram } from '../bed/trees.ts'

const publicBase = 'debian:bookworm-slim'
const nodeImage = 'moot/node:dev'
const helloImage = 'moot/hello:1'
const runtimeImage = 'moot/runtime:dev'
const inputsLabel = 'moot.inputs'
const enginePackages = [
  'docker.io',
  'iptables',
  'nftables',
  'iproute2',
  'conntrack',
  'wireguard-tools',
  'wireguard-go',
  'ca-certificates',
]
/** One that was made with other packages is another. */
const ownBaseTag = `bookworm-${digestOf([], enginePackages).slice(0, 8)}`
const ownBase = `moot/base:${ownBaseTag}`

/** BuildKit is a plugin that Debian does not package; the classic builder is in every engine. */
const builder = { ...process.env, DOCKER_BUILDKIT: '0' }

type Say = (line: string) => void

/** The same files and names give the same digest. */
function digestOf(paths: readonly string[], more: readonly string[] = []): string {
  const hash = createHash('sha256')
  for (const text of more) hash.update(`${text}\0`)
  for (const path of paths) hash.update(`${path.slice(repository.length)}\0`).update(readFileSync(path))
  return hash.digest('hex')
}

function filesUnder(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

async function labelOf(image: string): Promise<string | undefined> {
  const format = `{{index .Config.Labels "${inputsLabel}"}}`
  return (await attempt('docker', ['image', 'inspect', '--format', format, image]))?.trim()
}

async function idOf(image: string): Promise<string> {
  return (await run('docker', ['image', 'inspect', '--format', '{{.Id}}', image])).trim()
}

/** Debian with an engine's packages: the public image where a registry answers (the build adds the packages), else our own. */
async function ensureBase(say: Say): Promise<string> {
  for (const base of [publicBase, ownBase]) {
    if ((await attempt('docker', ['image', 'inspect', base])) !== undefined) return base
  }
  if (await registryAnswers()) {
    say(`Pulling ${publicBase}`)
    await run('docker', ['pull', '--quiet', publicBase], { timeoutMs: 180_000 })
    return publicBase
  }
  const archive = join(cacheDirectory, 'base', `${ownBaseTag}.tar`)
  if (!existsSync(archive)) {
    say('No image registry answers: making the base image with debootstrap (about a minute, once)')
    await debootstrap(archive)
  }
  await run('docker', ['import', archive, ownBase], { timeoutMs: 300_000 })
  return ownBase
}

async function registryAnswers(): Promise<boolean> {
  try {
    await run('docker', ['manifest', 'inspect', publicBase], { timeoutMs: 8_000 })
    return true
  } catch {
    return false
  }
}

async function debootstrap(archive: string): Promise<void> {
  const tree = join(cacheDirectory, 'base', 'tree')
  await rm(tree, { recursive: true, force: true })
  await mkdir(tree, { recursive: true })
  const targets = await attempt('apt-get', ['indextargets', '--format', '$(REPO_URI) $(CODENAME) $(ORIGIN)'])
  // The mirror this machine is set up with; debootstrap's own otherwise.
  const mirror = targets
    ?.split('\n')
    .find((line) => line.endsWith(' bookworm Debian'))
    ?.split(' ')[0]
  const options = ['--variant=minbase', `--include=${enginePackages.join(',')}`, 'bookworm', tree]
  const mirrors = mirror === undefined ? [] : [mirror]
  // In a mount namespace of its own: what it mounts goes with it, also when it is interrupted.
  await run('unshare', ['--mount', 'debootstrap', ...options, ...mirrors], { timeoutMs: 600_000 })
  for (const bulk of [
    'var/cache/apt',
    'var/lib/apt/lists',
    'usr/share/doc',
    'usr/share/man',
    'usr/share/locale',
  ]) {
    await rm(join(tree, bulk), { recursive: true, force: true })
    await mkdir(join(tree, bulk), { recursive: true })
  }
  await run('tar', ['-C', tree, '--numeric-owner', '--exclude=./dev/*', '-cf', `${archive}.new`, '.'])
  await rename(`${archive}.new`, archive)
  await rm(tree, { recursive: true, force: true })
}

/** The image of one node, built where the agent, the base or a file of `image/` changed. */
export async function ensureNodeImage(say: Say): Promise<void> {
  const base = await ensureBase(say)
  const dist = join(repository, 'dist')
  const inputs = digestOf(
    [...filesUnder(join(repository, 'image')), ...filesUnder(dist)],
    [process.version, await idOf(base)],
  )
  if ((await labelOf(nodeImage)) === inputs) return
  say(`Building the node image on ${base}`)
  const context = join(cacheDirectory, 'context')
  await rm(context, { recursive: true, force: true })
  await cp(join(repository, 'image'), context, { recursive: true })
  await cp(dist, join(context, 'dist'), { recursive: true })
  await link(realpathSync(process.execPath), join(context, 'node')).catch(() =>
    copyFile(process.execPath, join(context, 'node')),
  )
  const build = ['build', '--quiet', '--tag', nodeImage, '--label', `${inputsLabel}=${inputs}`]
  await run('docker', [...build, '--build-arg', `BASE=${base}`, context], {
    env: builder,
    timeoutMs: 600_000,
  })
  await rm(context, { recursive: true, force: true })
}

/** The image of examples/hello, as an archive that the nodes load. */
export async function ensureHelloImage(say: Say): Promise<ImageArchive> {
  const example = join(repository, 'examples', 'hello')
  const sources = filesUnder(example).filter((path) => !path.endsWith('.yml') && !path.endsWith('.md'))
  const inputs = digestOf([...sources, join(import.meta.dirname, 'node-image.ts')], [process.version])
  return cached('hello', inputs, async (archive) => {
    say('Building the image of examples/hello')
    await ensureRuntimeImage()
    const build = ['build', '--quiet', '--tag', helloImage, '--build-arg', `BASE=${runtimeImage}`, example]
    await run('docker', build, { env: builder })
    await run('docker', ['save', '--output', `${archive}.new`, helloImage])
    await rename(`${archive}.new`, archive)
    return new Map([[helloImage, await idOf(helloImage)]])
  })
}

/** Node and the libraries that it is linked with: enough to run a script, and needs no registry. */
async function ensureRuntimeImage(): Promise<void> {
  const tree = join(cacheDirectory, 'runtime')
  const archive = join(cacheDirectory, 'runtime.tar')
  await rm(tree, { recursive: true, force: true })
  await plantProgram(tree, process.execPath, 'usr/bin/node')
  await mkdir(join(tree, 'etc'))
  await mkdir(join(tree, 'tmp'))
  await chmod(join(tree, 'tmp'), 0o1777)
  await writeFile(
    join(tree, 'etc/passwd'),
    'root:x:0:0::/:/usr/bin/node\nnobody:x:65534:65534::/:/usr/bin/node\n',
  )
  const config = { Env: ['PATH=/usr/bin'], Cmd: ['node'], WorkingDir: '/' }
  await writeImageArchive(archive, [{ reference: runtimeImage, config, trees: [tree] }])
  await run('docker', ['load', '--quiet', '--input', archive])
  await rm(tree, { recursive: true, force: true })
  await rm(archive, { force: true })
}
