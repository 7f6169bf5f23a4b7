import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { generateIdentity } from '@moot/crdt-state'
import type { Identity } from '@moot/crdt-state'
import { pino } from 'pino'
import { defaults } from '../../defaults.ts'
import type { Defaults } from '../../defaults.ts'
import type { Gate, Mesh } from '../../ports/mesh.ts'
import { hostAndPort } from './address.ts'
import { createLibp2pMesh } from './mesh.ts'

/** Everybody is a member. */
export const open: Gate = {
  member: () => true,
  farewell: () => undefined,
  introduction: () => undefined,
  introduced: () => false,
}

export const cleanups: (() => unknown)[] = []
/** For `afterEach`: the last that was started ends first. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
}

export async function startMesh(
  options: {
    identity?: Identity
    gate?: Gate
    port?: number
    advertise?: string
    clusterTag?: string
    settings?: Partial<Defaults>
  } = {},
): Promise<Mesh> {
  const mesh = createLibp2pMesh({
    identity: options.identity ?? generateIdentity().identity,
    listen: { host: '127.0.0.1', port: options.port ?? 0 },
    advertise: options.advertise,
    gate: options.gate ?? open,
    clusterTag: options.clusterTag ?? 'test',
    logger: pino({ level: 'silent' }),
    gossip: true,
    settings: { ...defaults, ...options.settings },
  })
  cleanups.push(() => mesh.stop())
  await mesh.start()
  mesh.onRequest('echo', (_, payload) => Promise.resolve(payload))
  return mesh
}

export function meet(a: Mesh, b: Mesh, addresses: readonly string[] = b.addresses()): Promise<void> {
  const met = until(a, () => a.peers().has(b.self))
  a.setMembers(new Map([[b.self, addresses]]))
  return met
}

export function until(mesh: Mesh, holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const check = (): void => {
      if (!holds()) return
      off()
      resolve()
    }
    const off = mesh.onPeer(check)
    check()
  })
}

export function portOf(mesh: Mesh): number {
  return mesh.addresses().map(hostAndPort)[0]?.port ?? 0
}

/** A way to a mesh port that a test can freeze: like an agent that is stopped, whose kernel still accepts. */
export class Gateway {
  #frozen = false
  readonly #sockets = new Set<Socket>()
  readonly #server: Server
  constructor(target: number) {
    this.#server = createServer((near) => {
      this.#sockets.add(near)
      near.on('error', () => undefined).on('close', () => this.#sockets.delete(near))
      const far = connect(target, '127.0.0.1')
      this.#sockets.add(far)
      far.on('error', () => near.destroy()).on('close', () => this.#sockets.delete(far) && near.destroy())
      near.on('close', () => far.destroy())
      near.on('data', (data) => this.#frozen || far.write(data))
      far.on('data', (data) => this.#frozen || near.write(data))
    })
  }
  async open(): Promise<number> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    cleanups.push(() => this.close())
    return (this.#server.address() as AddressInfo).port
  }
  freeze(frozen: boolean): void {
    this.#frozen = frozen
  }
  openConnections(): number {
    return this.#sockets.size / 2
  }
  /** Refuses from now on; open connections stay as they are. */
  stopListening(): void {
    this.#server.close()
  }
  close(): Promise<void> {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    return Promise.resolve()
  }
}

/** Below those that the kernel gives to whoever asks for any, else somebody may have it before it is used. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000)
    const server = createServer().listen(port, '127.0.0.1')
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('listening', () => resolve(true)).once('error', () => resolve(false))
    })
    if (!isFree) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
}

/** `a` reaches `b` through a gateway. */
export async function throughGateway(
  settings: Partial<Defaults> = { meshDeadAfterMs: 300 },
  identity = generateIdentity().identity,
) {
  const port = await freePort()
  const gateway = new Gateway(port)
  const a = await startMesh({ settings })
  const b = await startMesh({ identity, port, advertise: `127.0.0.1:${await gateway.open()}` })
  return { a, b, gateway }
}
