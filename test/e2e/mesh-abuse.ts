/**
 * What a stranger can do to a mesh port, from a host that is connected with it: run in that host's namespaces by
 * bad-input.test.ts. Arguments: what to do, the address, the port (`stranger`: a join token). Prints JSON.
 */
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect, type Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { generateIdentity } from '@moot/crdt-state'
import { pino } from 'pino'
import { createLibp2pMesh } from '../../packages/agent/src/adapters/libp2p/mesh.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { parseToken } from '../../packages/agent/src/join/token.ts'

function opened(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => resolve(socket))
    socket.once('error', reject)
  })
}

/** Resolves when the other side has closed; what it said is of no interest, an error closes too. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.on('error', () => undefined)
    socket.on('close', () => resolve())
    socket.resume()
  })
}

async function send(host: string, port: number, payloads: readonly (string | Buffer)[]): Promise<object> {
  await Promise.all(
    payloads.map(async (payload) => {
      const socket = await opened(host, port)
      const end = closed(socket)
      socket.write(payload)
      await end
    }),
  )
  return { closed: payloads.length }
}

/** What looks like questions of a member, without its key. */
async function datagrams(host: string, port: number): Promise<object> {
  const socket = createSocket('udp4')
  let answers = 0
  socket.on('message', () => (answers += 1))
  for (let count = 0; count < 2_000; count += 1) {
    const bytes = randomBytes(count % 50)
    if (bytes.length > 0) bytes[0] = 0x51
    socket.send(bytes, port, host)
    if (count % 20 === 0) await setTimeout(10)
  }
  await setTimeout(500)
  socket.close()
  return { answers }
}

async function stranger(text: string): Promise<object> {
  const token = parseToken(text)
  const mesh = createLibp2pMesh({
    identity: generateIdentity().identity,
    listen: { host: '0.0.0.0', port: 0 },
    gate: {
      member: (node) => node === token.issuer,
      farewell: () => undefined,
      introduction: () => undefined,
      introduced: () => false,
    },
    clusterTag: token.clusterId,
    gossip: true,
    logger: pino({ level: 'silent' }),
    settings: defaults,
  })
  await mesh.start()
  mesh.setMembers(new Map([[token.issuer, token.addresses]]))
  const said = async (work: Promise<unknown>): Promise<string> => {
    try {
      await work
      return 'accepted'
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }
  const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))
  const soon = (): AbortSignal => AbortSignal.timeout(5_000)
  const asked = { step: 'compare', specs: '', records: '' }
  const sync = await said(mesh.request(token.issuer, 'sync', bytes(asked), soon()))
  const commit = await said(mesh.request(token.issuer, 'commit', bytes({ messages: [] }), soon()))
  await said(mesh.publish('specs', bytes([{ type: 'document' }])))
  mesh.setMembers(new Map())
  const guess = { token: token.id, secret: randomBytes(16).toString('hex'), addresses: [] }
  const join = await said(mesh.join(token.issuer, token.addresses, bytes(guess), soon()))
  const garbage = await said(mesh.join(token.issuer, token.addresses, randomBytes(1_000), soon()))
  const peers = mesh.peers().size
  await mesh.stop()
  return { sync, commit, join, garbage, peers }
}

async function main(what: string | undefined, where: string, port: number): Promise<object> {
  switch (what) {
    case 'random':
      return send(
        where,
        port,
        Array.from({ length: 50 }, (_, index) => randomBytes(1 + index * 1_000)),
      )
    case 'http':
      return send(where, port, [
        'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
        'POST /services/create HTTP/1.1\r\n\r\n{}',
      ])
    case 'half-open': {
      // They say nothing: the agent has to lose patience.
      const sockets = await Promise.all(Array.from({ length: 200 }, () => opened(where, port)))
      await Promise.all(sockets.map(closed))
      return { closed: sockets.length }
    }
    case 'datagrams':
      return datagrams(where, port)
    case 'stranger':
      return stranger(where)
    default:
      throw new Error('random | http | half-open | datagrams ADDRESS PORT, or stranger TOKEN')
  }
}

const [what, where = '', port] = process.argv.slice(2)
process.stdout.write(JSON.stringify(await main(what, where, Number(port ?? defaults.meshPort))))
process.exit(0)
