/**
 * Figures of a host without kernel networking, as it is shipped: requests a second of a web server on this host, directly, through the forwarder, and
 * through forwarder and two agents as if it were on another host (both agents in one process, so that they share a core).
 *
 *     node scripts/build.ts && node test/bench/forwarder.ts
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { TaskId } from '@moot/crdt-state'
import { realClock } from '../../packages/agent/src/adapters/clock.ts'
import { processForwarder } from '../../packages/agent/src/adapters/forwarder/client.ts'
import { cleanUp, startMesh } from '../../packages/agent/src/adapters/libp2p/mesh.testing.ts'
import type { ForwardEndpoint } from '../../packages/agent/src/core/network/plane.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { openForwards, serveForwards } from '../../packages/agent/src/forward-relay.ts'
import { beginLoad } from '../e2e/load-process.ts'

const [address, target, port] = ['127.88.0.1', 18_001, 18_002]
const forMs = 5_000
const connections = 32
const signal = AbortSignal.timeout(300_000)
const clock = realClock()
const print = (what: string, figure: string): void => console.log(`${what.padEnd(56)} ${figure}`)

const server = `require('node:http').createServer((_, res) => res.end('hello')).listen(${target}, '${address}', () => console.log('up'))`
const backend = spawn(process.execPath, ['-e', server], { stdio: ['ignore', 'pipe', 'inherit'] })
await once(backend.stdout, 'data')

const directory = mkdtempSync(join(tmpdir(), 'moot-forward-'))
const forwarder = processForwarder({
  directory,
  program: { path: resolve(import.meta.dirname, '../../dist/forwarder.mjs'), version: 'measured' },
  settings: defaults,
  log: (line) => console.error(line),
})
const [near, far] = [await startMesh(), await startMesh()]
near.setMembers(new Map([[far.self, far.addresses()]]))
far.setMembers(new Map([[near.self, near.addresses()]]))
serveForwards({ mesh: far, forwarder, addressOf: () => address, clock, settings: defaults })
forwarder.onRemote(openForwards({ mesh: near, clock, settings: defaults }))

async function measure(what: string, url: string, keepAlive: boolean): Promise<void> {
  const load = await beginLoad(undefined, { targets: [url], connections, keepAlive, forMs })
  const { requestsPerSecond, latencyMs, failed } = await load.report
  print(
    `${what}, ${keepAlive ? 'connections kept' : 'a connection each'}`,
    `${requestsPerSecond.toFixed(0)} a second, p50 ${latencyMs.p50.toFixed(1)}, p99 ${latencyMs.p99.toFixed(1)} ms, ${failed} failed`,
  )
}

const task = 'web' as TaskId
const ways: readonly (readonly [string, ForwardEndpoint])[] = [
  ['through the forwarder', { kind: 'local', task, address }],
  ['through it and two agents', { kind: 'remote', task, node: far.self }],
]
print('load of this machine (1 min)', loadavg()[0]?.toFixed(1) ?? '')
for (const keepAlive of [true, false]) {
  await measure('directly', `http://${address}:${target}/`, keepAlive)
  for (const [what, endpoint] of ways) {
    await forwarder.apply([{ protocol: 'tcp', port, target, endpoints: [endpoint] }], signal)
    await measure(what, `http://127.0.0.1:${port}/`, keepAlive)
  }
}
const pid = readFileSync(join(directory, 'pid'), 'utf8')
const memory = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
print('memory of the forwarder, after that', `${(Number(memory) / 1024).toFixed(0)} MB`)
print('files that it has open', String(readdirSync(`/proc/${pid}/fd`).length))
await forwarder.end(signal)
await cleanUp()
backend.kill()
rmSync(directory, { recursive: true })
process.exit()
