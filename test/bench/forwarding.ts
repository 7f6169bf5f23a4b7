/** Node's forwarder alone, in the network namespace that it is begun in, until its input ends: told `{ port, target, address }`. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import type { TaskId } from '@moot/crdt-state'
import { processForwarder } from '../../packages/agent/src/adapters/forwarder/client.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'

const { port, target, address } = JSON.parse(process.argv[2]!) as {
  readonly port: number
  readonly target: number
  readonly address: string
}
const directory = mkdtempSync(join(tmpdir(), 'moot-forwarding-'))
const signal = AbortSignal.timeout(3_600_000)
const forwarder = processForwarder({ directory, settings: defaults, log: (line) => console.error(line) })
const endpoints = [{ kind: 'local', task: 'server' as TaskId, address }] as const
await forwarder.apply([{ protocol: 'tcp', port, target, endpoints }], signal)
process.stdout.write('ready\n')
await once(process.stdin.resume(), 'end')
await forwarder.end(signal)
rmSync(directory, { recursive: true })
process.exit()
