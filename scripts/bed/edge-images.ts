import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { copyFile, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Image } from './archive.ts'
import { cachedTrees, type ImageArchive } from './images.ts'
import { cacheDirectory, repository } from './place.ts'
import { CommandFailed, run } from './shell.ts'
import { plantBusybox, plantProgram } from './trees.ts'

/** The image of examples/edge, and `moot/edge-ca:1`: the same with a CA that speaks ACME, and its root, for tests. */

const example = join(repository, 'examples/edge/image')
const configuration = ['edge.sh', 'edge.Caddyfile', 'issuer.sh', 'issuer.Caddyfile', 'public/bundle.txt']
const authority = join(import.meta.dirname, 'edge-ca.Caddyfile')
const trusted = '/etc/ssl/certs/ca-certificates.crt'
const makers = ['archive.ts', 'trees.ts', 'edge-images.ts'].map((name) => join(import.meta.dirname, name))

export class CaddyMissing extends Error {
  readonly code = 'CADDY_MISSING'
  constructor(cause: unknown) {
    super(
      "Debian's caddy could not be downloaded to make the edge's image from. Try: apt-get update && apt-get download caddy",
      { cause },
    )
  }
}

/** Out of Debian's package, which is not installed: that would start a server on this machine's port 80. */
async function caddyProgram(): Promise<string> {
  const home = join(cacheDirectory, 'caddy')
  const program = join(home, 'usr/bin/caddy')
  if (existsSync(program)) return program
  const work = `${home}.${process.pid}`
  await mkdir(work, { recursive: true })
  try {
    await run('apt-get', ['download', '-q', 'caddy'], { cwd: work })
    const [archive = ''] = await readdir(work)
    await run('dpkg-deb', ['-x', archive, 'tree'], { cwd: work })
    await rename(join(work, 'tree'), home)
  } catch (error) {
    if (error instanceof CommandFailed) throw new CaddyMissing(error)
    throw error
  } finally {
    await rm(work, { recursive: true, force: true })
  }
  return program
}

async function found(program: string): Promise<string> {
  return (await run('sh', ['-c', `command -v ${program}`])).trim()
}

/** Made where their inputs changed since the last time. */
export async function ensureEdgeImages(): Promise<ImageArchive> {
  const programs = {
    busybox: await found('busybox'),
    curl: await found('curl'),
    caddy: await caddyProgram(),
  }
  const inputs = createHash('sha256')
  const files = [...configuration.map((name) => join(example, name)), authority, trusted, ...makers]
  for (const file of [...Object.values(programs), ...files]) inputs.update(readFileSync(file))
  return cachedTrees('edge', inputs.digest('hex'), (trees) => plant(trees, programs))
}

async function plant(
  trees: string,
  programs: { readonly busybox: string; readonly curl: string; readonly caddy: string },
): Promise<readonly Image[]> {
  const edge = join(trees, 'edge')
  const ca = join(trees, 'ca')
  await plantBusybox(edge, programs.busybox)
  await plantProgram(edge, programs.caddy, 'usr/bin/caddy')
  await plantProgram(edge, programs.curl, 'usr/bin/curl')
  for (const folder of ['certificates', 'run', 'etc/ssl/certs'])
    await mkdir(join(edge, folder), { recursive: true })
  await copyFile(trusted, join(edge, trusted))
  for (const name of configuration) await plantFile(edge, join(example, name), `etc/edge/${name}`)
  // As in examples/edge/image/Dockerfile.
  const hop = ['subjectAltName=DNS:issuer', 'extendedKeyUsage=serverAuth,clientAuth']
  await makeCertificate(join(edge, 'etc/edge/hop'), 'issuer', hop)
  await plantFile(ca, authority, 'etc/ca/Caddyfile')
  await makeCertificate(join(ca, 'etc/ca/root'), 'The test CA', ['keyUsage=critical,keyCertSign'])
  const config = {
    Env: ['PATH=/usr/bin:/bin'],
    Cmd: ['/etc/edge/edge.sh'],
    ExposedPorts: { '80/tcp': {}, '443/tcp': {} },
  }
  return [
    { reference: 'moot/edge:1', config, trees: [edge] },
    { reference: 'moot/edge-ca:1', config, trees: [edge, ca] },
  ]
}

async function plantFile(tree: string, file: string, at: string): Promise<void> {
  const to = join(tree, at)
  await mkdir(dirname(to), { recursive: true })
  await copyFile(file, to)
}

/** Signed by itself: `PATH.crt` and `PATH.key`. */
async function makeCertificate(path: string, name: string, extensions: readonly string[]): Promise<void> {
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '3650']
  const said = ['-subj', `/CN=${name}`, ...extensions.flatMap((extension) => ['-addext', extension])]
  await run('openssl', ['req', ...kind, ...said, '-keyout', `${path}.key`, '-out', `${path}.crt`])
}
