import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { copyFile, mkdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Image } from './archive.ts'
import { cachedTrees, type ImageArchive } from './images.ts'
import { repository } from './place.ts'
import { attempt, run } from './shell.ts'
import { plantBusybox, plantProgram } from './trees.ts'

/** The images of examples/guestbook, and `moot/echo:1`, which tells a client what address it has. */

const example = join(repository, 'examples/guestbook/web')
const web = ['server.mjs', 'redis.mjs', 'page.mjs'].map((name) => join(example, name))
const echo = join(import.meta.dirname, 'echo.mjs')
const makers = ['archive.ts', 'trees.ts', 'guestbook-images.ts'].map((name) =>
  join(import.meta.dirname, name),
)

/** Two versions that a person can tell apart: by the number and by the colour (as in the example's Dockerfile). */
const versions = [
  { version: '1', hue: '250' },
  { version: '2', hue: '150' },
]
const path = 'PATH=/usr/bin:/bin'

/** As in examples/guestbook/redis/Dockerfile. */
const redisCommand = [
  'redis-server',
  '--dir',
  '/data',
  '--appendonly',
  'yes',
  '--save',
  '',
  '--protected-mode',
  'no',
]

export class RedisMissing extends Error {
  readonly code = 'REDIS_MISSING'
  constructor() {
    super("There is no redis-check-rdb to make Redis's image from. Install it: apt-get install redis-tools")
  }
}

/**
 * Debian's redis-tools has the server without its service: redis-check-rdb is the same program, which goes by the name
 * that it is called by.
 */
async function redisServer(): Promise<string> {
  const found = (await attempt('sh', ['-c', 'command -v redis-check-rdb']))?.trim()
  if (found === undefined || found === '') throw new RedisMissing()
  return found
}

/** Made where their inputs changed since the last time. */
export async function ensureGuestbookImages(): Promise<ImageArchive> {
  const programs = {
    busybox: (await run('sh', ['-c', 'command -v busybox'])).trim(),
    redis: await redisServer(),
  }
  const inputs = createHash('sha256').update(process.version)
  for (const file of [...Object.values(programs), ...web, echo, ...makers]) inputs.update(readFileSync(file))
  return cachedTrees('guestbook', inputs.digest('hex'), (trees) => plant(trees, programs))
}

async function plant(
  trees: string,
  programs: { readonly busybox: string; readonly redis: string },
): Promise<readonly Image[]> {
  const [node, guestbook, echoing, redis] = ['node', 'guestbook', 'echo', 'redis'].map((name) =>
    join(trees, name),
  ) as [string, string, string, string]
  await plantBusybox(node, programs.busybox)
  await plantProgram(node, process.execPath, 'usr/bin/node')
  await plantScripts(guestbook, web)
  await plantScripts(echoing, [echo])
  await plantProgram(redis, programs.redis, 'usr/bin/redis-server')
  await plantProgram(redis, join(programs.redis, '../redis-cli'), 'usr/bin/redis-cli')
  await mkdir(join(redis, 'data'))
  return [
    ...versions.map(({ version, hue }) => ({
      reference: `moot/guestbook:${version}`,
      config: {
        Env: [path, `VERSION=${version}`, `HUE=${hue}`],
        Cmd: ['node', 'server.mjs'],
        WorkingDir: '/app',
        ExposedPorts: { '8000/tcp': {} },
      },
      trees: [node, guestbook],
    })),
    {
      reference: 'moot/echo:1',
      config: {
        Env: [path],
        Cmd: ['node', 'echo.mjs'],
        WorkingDir: '/app',
        ExposedPorts: { '7000/tcp': {}, '7000/udp': {} },
      },
      trees: [node, echoing],
    },
    {
      reference: 'moot/redis:7',
      config: { Env: [path], Cmd: redisCommand, WorkingDir: '/data', ExposedPorts: { '6379/tcp': {} } },
      trees: [redis],
    },
  ]
}

async function plantScripts(tree: string, scripts: readonly string[]): Promise<void> {
  await mkdir(join(tree, 'app'), { recursive: true })
  for (const script of scripts) await copyFile(script, join(tree, 'app', basename(script)))
}
