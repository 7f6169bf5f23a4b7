import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { removeCgroupIfEmpty } from '../bed/cgroup.ts'
import { cacheDirectory } from '../bed/place.ts'
import { gone, identify, isAlive, signal, type ProcessId } from '../bed/processes.ts'
import { attempt, run, waitUntil } from '../bed/shell.ts'

/** The machine's own Docker engine, which runs the three nodes of `make up`. */

const directory = join(cacheDirectory, 'engine')
const logFile = join(directory, 'dockerd.log')
const startedFile = join(directory, 'started.json')
const forwardingFile = '/proc/sys/net/ipv4/ip_forward'
const firewallTables = ['filter', 'nat'] as const

/** Kept while an engine runs that we started: what it was, and what the machine was like before. */
interface Started {
  readonly engine: ProcessId
  readonly forwarding: string
  readonly firewall: Readonly<Record<string, string>>
  /** Such as `table ip nat`: iptables on nftables makes them when first used. */
  readonly nftTables: readonly string[]
  /** Of `residue`, what was there already. */
  readonly present: readonly string[]
}

/** Folders that an engine and its containerd make at run time and leave. */
const residue = ['/run/docker', '/run/containerd'] as const
const bridge = '/sys/class/net/docker0'

async function answers(): Promise<boolean> {
  try {
    await run('docker', ['version', '--format', '{{.Server.Version}}'], { timeoutMs: 10_000 })
    return true
  } catch {
    return false
  }
}

function started(): Started | undefined {
  try {
    return JSON.parse(readFileSync(startedFile, 'utf8')) as Started
  } catch {
    return undefined
  }
}

export async function ensureMachineEngine(say: (line: string) => void): Promise<void> {
  if (await answers()) return
  if (process.env['DOCKER_HOST'] !== undefined) {
    throw new Error(
      `DOCKER_HOST=${process.env['DOCKER_HOST']} does not answer. Unset it, or start that engine.`,
    )
  }
  if (existsSync('/run/systemd/system')) {
    say('Starting the Docker engine of this machine (systemctl start docker)')
    await run('systemctl', ['start', 'docker'])
  } else {
    say(`Starting a Docker engine, for none answers here (its log: ${logFile})`)
    await startEngine()
  }
  await waitUntil(
    `the Docker engine of this machine answers (see ${logFile})`,
    async () => {
      const ours = started()
      if (ours !== undefined && !isAlive(ours.engine)) throw new Error('it has ended')
      return answers()
    },
    { timeoutMs: 60_000, intervalMs: 200 },
  )
}

async function startEngine(): Promise<void> {
  await mkdir(directory, { recursive: true })
  const before = {
    forwarding: (await readFile(forwardingFile, 'utf8')).trim(),
    present: [...residue, bridge].filter((path) => existsSync(path)),
    nftTables: await nftTables(),
    firewall: Object.fromEntries(
      await Promise.all(
        firewallTables.map(async (table) => [table, (await attempt('iptables-save', ['-t', table])) ?? '']),
      ),
    ) as Record<string, string>,
  }
  const log = openSync(logFile, 'a')
  const child = spawn('dockerd', ['--exec-opt', 'native.cgroupdriver=cgroupfs'], {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
  })
  closeSync(log)
  child.on('error', () => {
    // Without a pid, below, this becomes an error that says what to do.
  })
  child.unref()
  const engine = child.pid === undefined ? undefined : identify(child.pid)
  if (engine === undefined)
    throw new Error(`dockerd could not be started: is docker.io installed? See ${logFile}`)
  await writeFile(startedFile, JSON.stringify({ engine, ...before } satisfies Started))
}

async function nftTables(): Promise<string[]> {
  return ((await attempt('nft', ['list', 'tables'])) ?? '').split('\n').filter(Boolean)
}

/** Ends the engine only if we started it and nobody else has put containers in it meanwhile. */
export async function stopMachineEngine(say: (line: string) => void): Promise<void> {
  const ours = started()
  if (ours === undefined) return
  if (isAlive(ours.engine)) {
    const others = (await attempt('docker', ['ps', '-q']))?.trim() ?? ''
    if (others !== '') {
      say('The Docker engine that `make up` started now runs containers of yours: it is left running')
      return
    }
    signal(ours.engine, 'SIGTERM')
    await gone('the Docker engine of this machine', ours.engine, 30_000)
    say('Stopped the Docker engine that `make up` had started')
  }
  await undoTraces(ours)
  await rm(startedFile, { force: true })
}

/** What an engine leaves behind when it ends: its bridge, its firewall rules, forwarding, run-time folders, cgroups. */
async function undoTraces(before: Started): Promise<void> {
  if (!before.present.includes(bridge)) await attempt('ip', ['link', 'del', 'docker0'])
  for (const [table, rules] of Object.entries(before.firewall)) {
    if (rules !== '') await run('iptables-restore', ['-T', table], { input: rules })
  }
  for (const table of await nftTables()) {
    if (!before.nftTables.includes(table)) await attempt('nft', ['delete', ...table.split(' ')])
  }
  await writeFile(forwardingFile, before.forwarding)
  const mounts = await readFile('/proc/self/mountinfo', 'utf8')
  for (const path of residue.filter((path) => !before.present.includes(path))) {
    if (!mounts.includes(` ${path}/`)) await rm(path, { recursive: true, force: true })
  }
  removeCgroupIfEmpty('/docker')
}
