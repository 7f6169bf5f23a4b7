import { createServer, type Server, type Socket } from 'node:net'
import type { Forward, ForwardEndpoint } from '../../core/network/plane.ts'
import type { defaults } from '../../defaults.ts'
import { drawn } from './choose.ts'
import { type End, joinEnds, socketEnd } from './end.ts'
import type { Load } from './load.ts'
import { AgentAwayError, localWay, remoteWay, type WayParts } from './way.ts'

export type TcpDoorSettings = Pick<
  typeof defaults,
  'forwarderConnectTimeoutMs' | 'forwarderTriesMax' | 'forwarderKeepAliveMs'
>

export interface TcpDoorParts {
  readonly relayPath: string
  readonly load: Load
  readonly settings: TcpDoorSettings
}

/** One published TCP port. */
export class TcpDoor {
  readonly #parts: TcpDoorParts
  readonly #way: WayParts
  readonly #server: Server
  #forward: Forward

  private constructor(forward: Forward, parts: TcpDoorParts) {
    this.#forward = forward
    this.#parts = parts
    const { relayPath, settings } = parts
    this.#way = {
      relayPath,
      keepAliveMs: settings.forwarderKeepAliveMs,
      timeoutMs: settings.forwarderConnectTimeoutMs,
    }
    this.#server = createServer(
      {
        allowHalfOpen: true,
        pauseOnConnect: true,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: settings.forwarderKeepAliveMs,
      },
      (client) => void this.#serve(client),
    )
  }

  /** Rejects where the port is another's. */
  static async open(forward: Forward, parts: TcpDoorParts): Promise<TcpDoor> {
    const door = new TcpDoor(forward, parts)
    const server = door.#server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ port: forward.port, host: '0.0.0.0' }, resolve)
    })
    // Out of files, for one: those that come meanwhile wait in the kernel.
    server.on('error', () => (parts.load.counts.turnedAway += 1))
    return door
  }

  /** Each new connection goes by it. */
  update(forward: Forward): void {
    this.#forward = forward
  }

  /** No new connections. */
  close(): void {
    this.#server.close()
  }

  async #serve(client: Socket): Promise<void> {
    const { load } = this.#parts
    // What it breaks in is told to the other end once there is one.
    client.on('error', () => undefined)
    if (!load.take()) {
      client.resetAndDestroy()
      return
    }
    const way = await this.#open()
    if (way === undefined || client.destroyed) {
      if (way === undefined) load.counts.unanswered += 1
      way?.reset()
      socketEnd(client).reset()
      load.giveBack()
      return
    }
    joinEnds(socketEnd(client), way, () => load.giveBack())
  }

  /** By what holds at each try: one that goes meanwhile is asked no more. */
  async #open(): Promise<End | undefined> {
    const { forwarderTriesMax } = this.#parts.settings
    const tried = new Set<string>()
    let isAgentAway = false
    while (tried.size < forwarderTriesMax) {
      const left = this.#forward.endpoints.filter(
        ({ kind, task }) => !tried.has(task) && !(isAgentAway && kind === 'remote'),
      )
      const [endpoint] = drawn(left, 1, Math.random)
      if (endpoint === undefined) return undefined
      try {
        return await this.#wayTo(endpoint)
      } catch (error) {
        if (error instanceof AgentAwayError) isAgentAway = true
        else tried.add(endpoint.task)
      }
    }
    return undefined
  }

  #wayTo(endpoint: ForwardEndpoint): Promise<End> {
    const forward = this.#forward
    return endpoint.kind === 'local'
      ? localWay(endpoint.address, forward.target, this.#way)
      : remoteWay(endpoint, forward, this.#way)
  }
}
