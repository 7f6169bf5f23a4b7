import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import type { Forward } from '../../core/network/plane.ts'
import type { defaults } from '../../defaults.ts'
import { drawn } from './choose.ts'
import { Session } from './session.ts'
import type { Sessions } from './sessions.ts'

export interface UdpDoorParts {
  readonly relayPath: string
  readonly sessions: Sessions
  readonly settings: Pick<
    typeof defaults,
    'forwarderConnectTimeoutMs' | 'forwarderKeepAliveMs' | 'forwarderDatagramsMax'
  >
}

/** What waits to be read while this process has not its turn; the kernel gives less where it allows less. */
const receiveBufferBytes = 1024 * 1024

/** One published UDP port: each client is led to one endpoint, for as long as that answers and the client goes on. */
export class UdpDoor {
  readonly #parts: UdpDoorParts
  readonly #socket: Socket
  #forward: Forward
  #isClosed = false

  private constructor(forward: Forward, parts: UdpDoorParts) {
    this.#forward = forward
    this.#parts = parts
    this.#socket = createSocket({ type: 'udp4', recvBufferSize: receiveBufferBytes })
    this.#socket.on('message', (message, from) => this.#receive(message, from))
  }

  /** Rejects where the port is another's. */
  static async open(forward: Forward, parts: UdpDoorParts): Promise<UdpDoor> {
    const door = new UdpDoor(forward, parts)
    const socket = door.#socket
    await new Promise<void>((resolve, reject) => {
      const failed = (error: Error): void => {
        socket.close()
        reject(error)
      }
      socket.once('error', failed)
      socket.bind({ port: forward.port, address: '0.0.0.0' }, () => {
        socket.off('error', failed)
        resolve()
      })
    })
    // A client that is gone is none.
    socket.on('error', () => undefined)
    return door
  }

  /** What goes to an endpoint that is gone ends at once; the client's next datagram goes to another. */
  update(forward: Forward): void {
    this.#forward = forward
    const tasks = new Set(forward.endpoints.map(({ task }) => task))
    this.#parts.sessions.endOf(this, ({ task }) => !tasks.has(task))
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#parts.sessions.endOf(this, () => true)
    this.#socket.close()
  }

  #receive(message: Buffer, { address, port }: RemoteInfo): void {
    // A forged port: nothing can be sent to it.
    if (port === 0) return
    const { sessions } = this.#parts
    const client = `${address}:${port}`
    const session = sessions.find(this, client) ?? this.#begin(client, address, port)
    session?.send(message)
  }

  #begin(client: string, address: string, port: number): Session | undefined {
    const { sessions, relayPath, settings } = this.#parts
    const [endpoint] = drawn(this.#forward.endpoints, 1, Math.random)
    if (endpoint === undefined) return undefined
    const session = new Session({
      endpoint,
      target: this.#forward.target,
      way: {
        relayPath,
        keepAliveMs: settings.forwarderKeepAliveMs,
        timeoutMs: settings.forwarderConnectTimeoutMs,
      },
      waitingMax: settings.forwarderDatagramsMax,
      answer: (bytes) => {
        sessions.find(this, client)
        if (!this.#isClosed) this.#socket.send(bytes, port, address, () => undefined)
      },
      over: () => sessions.forget(this, client, session),
    })
    sessions.add(this, client, session)
    return session
  }
}
