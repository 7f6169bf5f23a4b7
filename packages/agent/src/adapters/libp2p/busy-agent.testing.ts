/**
 * A mesh in a process of its own that stands still for as long as it is asked to, for tests of what others see of it.
 * Arguments: its identity's secret, and the addresses of the member that asks. Prints its own addresses.
 */
import { loadIdentity } from '@moot/crdt-state'
import { pino } from 'pino'
import { defaults } from '../../defaults.ts'
import { createLibp2pMesh } from './mesh.ts'
import { open } from './mesh.testing.ts'
import { nodeOf } from './identity.ts'
import { peerIn } from './address.ts'

const [secret = '', ...addresses] = process.argv.slice(2)
const peer = addresses.map(peerIn).find((found) => found !== undefined)
const member = peer === undefined ? undefined : nodeOf(peer)
if (member === undefined) throw new Error('whose addresses are these?')
const mesh = createLibp2pMesh({
  identity: loadIdentity(secret),
  listen: { host: '127.0.0.1', port: 0 },
  gate: open,
  clusterTag: 'test',
  logger: pino({ level: 'silent' }),
  gossip: false,
  settings: defaults,
})
await mesh.start()
mesh.setMembers(new Map([[member, addresses]]))
mesh.onRequest('stand still', (_, payload) => {
  const untilMs = performance.now() + Number(new TextDecoder().decode(payload))
  while (performance.now() < untilMs);
  return Promise.resolve(payload)
})
process.stdout.write(`${JSON.stringify(mesh.addresses())}\n`)
