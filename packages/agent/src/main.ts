import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { digestId } from '@moot/crdt-state'
import { type Logger, pino } from 'pino'
import { createDockerEngine } from './adapters/docker/engine.ts'
import { systemExclusiveHost } from './adapters/exclusive-host.ts'
import { gatewayWitness } from './adapters/gateway.ts'
import { hostAddress } from './adapters/host.ts'
import { createLibp2pMesh } from './adapters/libp2p/mesh.ts'
import { createKernelDataPlane } from './adapters/kernel/data-plane.ts'
import { processNameServer } from './adapters/dns/client.ts'
import { processForwarder } from './adapters/forwarder/client.ts'
import { networkProber } from './adapters/prober.ts'
import { runDirectory } from './adapters/run-directory.ts'
import { realClock } from './adapters/clock.ts'
import { createAgent } from './agent.ts'
import { createApiServer } from './api/server.ts'
import { hashText } from './core/hash.ts'
import { knownRules } from './core/rules.ts'
import { defaults } from './defaults.ts'
import { SocketInUseError } from './errors.ts'
import { directoryHome } from './home.ts'
import { agentVersion } from './version.ts'
import { wireGuardKeyFile } from './wire-guard-keys.ts'

/** One for each cluster, so that two on the same hosts do not meet: 24 bits, of which 0 is nobody's. */
function vniOf(clusterId: string): number {
  return hashText(`vni/${clusterId}`) >>> 8 || 1
}

const usage = `moot agent: runs this host's part of the cluster

  --data-dir DIR         key and state            (MOOT_DATA_DIR, /var/lib/moot)
  --socket PATH          Docker API of the mesh   (MOOT_SOCKET, /run/moot/moot.sock)
  --docker-socket PATH   the local engine         (MOOT_DOCKER_SOCKET, /var/run/docker.sock)
  --advertise ADDRESS    how other nodes reach us (MOOT_ADVERTISE, this host's first address)
  --mesh-port PORT       TCP and UDP              (MOOT_MESH_PORT, ${defaults.meshPort})
  --log-level LEVEL      trace…fatal              (MOOT_LOG_LEVEL, info)

Run it as root on each host; then \`moot init\` on the first and \`moot join TOKEN\` on the others.
`

/** Runs the agent until SIGTERM or SIGINT. `argv` without the program's name. */
export async function runAgent(argv: readonly string[]): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${defaults.heapGrowingPercent}`)
  const { values } = parseArgs({
    args: [...argv],
    options: {
      'data-dir': { type: 'string', default: process.env['MOOT_DATA_DIR'] ?? '/var/lib/moot' },
      socket: { type: 'string', default: process.env['MOOT_SOCKET'] ?? '/run/moot/moot.sock' },
      'docker-socket': {
        type: 'string',
        default: process.env['MOOT_DOCKER_SOCKET'] ?? '/var/run/docker.sock',
      },
      advertise: { type: 'string' },
      'mesh-port': { type: 'string', default: process.env['MOOT_MESH_PORT'] ?? String(defaults.meshPort) },
      'log-level': { type: 'string', default: process.env['MOOT_LOG_LEVEL'] ?? 'info' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(usage)
    return
  }
  const port = Number(values['mesh-port'])
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new Error(`--mesh-port takes a port from 0 to 65535, not "${values['mesh-port']}"`)
  }
  const logger = pino({ level: values['log-level'], base: null })
  const abort = stopOnSignals()
  const stopped = abort.signal
  const dockerSocket = values['docker-socket']
  const gossip = process.env['MOOT_GOSSIP'] !== 'off'
  const clock = realClock()
  const agent = createAgent({
    home: directoryHome(values['data-dir']),
    engine: ({ clusterId, node }) =>
      createDockerEngine({
        socketPath: dockerSocket,
        clusterId: () => clusterId,
        node,
        logger: logger.child({ part: 'docker' }),
      }),
    mesh: ({ clusterId, identity, gate, advertise }) =>
      createLibp2pMesh({
        identity,
        listen: { host: '0.0.0.0', port },
        advertise,
        gate,
        clusterTag: clusterId,
        gossip,
        logger: logger.child({ part: 'mesh' }),
        settings: defaults,
      }),
    witness: gatewayWitness({ clock, settings: defaults }),
    nameServer: () =>
      processNameServer({
        directory: join(runDirectory('/run/moot', values['data-dir']), 'names'),
        port: defaults.nameServerPort,
        settings: defaults,
        log: (line) => logger.info({ part: 'names' }, line),
      }),
    forwarder: () =>
      processForwarder({
        directory: join(runDirectory('/run/moot', values['data-dir']), 'forwarder'),
        settings: defaults,
        log: (line) => logger.warn({ part: 'forwarder' }, line),
      }),
    dataPlane: ({ clusterId }) =>
      createKernelDataPlane({
        vni: vniOf(clusterId),
        dnsPort: defaults.nameServerPort,
        wireGuard: { keyFile: (round) => wireGuardKeyFile(values['data-dir'], round) },
      }),
    prober: networkProber(defaults),
    exclusive: systemExclusiveHost({
      dataDirectory: values['data-dir'],
      runDirectory: '/run/moot',
      settings: defaults,
    }),
    clock,
    logger,
    settings: defaults,
    random: Math.random,
    randomHex: (bytes) => randomBytes(bytes).toString('hex'),
    newId: () => digestId(randomBytes(32).toString('hex')),
    agentVersion,
    rules: knownRules,
    hostname: hostname(),
    advertise: values.advertise ?? process.env['MOOT_ADVERTISE'],
    guessedAddress: hostAddress(),
    halt: () => {
      process.exitCode = 1
      abort.abort(new Error('this agent must not go on'))
    },
  })
  // Also after a start that failed: what began to run must not go on without its API.
  const parts: { close(): Promise<void> }[] = [{ close: () => agent.stop() }]
  try {
    await agent.start()
    await clearSocketPath(values.socket)
    const api = createApiServer({
      cluster: agent,
      enginePath: () => dockerSocket,
      logger: logger.child({ part: 'api' }),
      settings: defaults,
      agentVersion,
      clock,
    })
    parts.unshift(api)
    await api.listen(values.socket, stopped)
    logger.info(
      { node: agent.self, socket: values.socket, version: agentVersion, state: agent.state().kind },
      'agent is ready',
    )
    await aborted(stopped)
    logger.info('agent stops; containers keep running')
  } finally {
    exitInTime(logger)
    for (const part of parts) await part.close()
  }
}

/** What is stored is durable at any instant, so whatever hangs at the end may be cut off. */
function exitInTime(logger: Logger): void {
  setTimeout(() => {
    logger.warn('something does not end; the agent exits all the same')
    process.exit()
  }, defaults.agentStopTimeoutMs).unref()
}

/** Removes what a dead agent left there. Throws `SocketInUseError` if somebody answers. */
async function clearSocketPath(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true })
  const answers = await new Promise<boolean>((resolve) => {
    const socket = connect(path, () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
    socket.unref().end()
  })
  if (answers) throw new SocketInUseError(path)
  rmSync(path, { force: true })
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort')
}

function stopOnSignals(): AbortController {
  const abort = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => abort.abort(new Error(signal)))
  }
  return abort
}

if (import.meta.main) {
  try {
    await runAgent(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`moot agent: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
}
