import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import type { OpenRemote } from '../../ports/forwarder.ts'
import { jsonLine, readLine } from '../../stream-header.ts'
import { joinStreams } from '../../stream-join.ts'
import { chunksOver } from './chunks.ts'
import { duplexStream } from './duplex-stream.ts'
import { readRelayRequest } from './protocol.ts'

/** Where the forwarder's process brings to its agent what is for tasks of other nodes. */
export class RelayDoor {
  readonly #path: string
  readonly #open: OpenRemote
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #closing = new AbortController()

  constructor(path: string, open: OpenRemote, connectionsMax: number) {
    this.#path = path
    this.#open = open
    this.#server = createServer({ allowHalfOpen: true }, (socket) => void this.#serve(socket))
    this.#server.maxConnections = connectionsMax
  }

  async listen(): Promise<void> {
    rmSync(this.#path, { force: true })
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(this.#path, resolve)
    })
    chmodSync(this.#path, 0o600)
    this.#server.unref()
  }

  /** What it passes on is broken off. */
  close(): void {
    this.#closing.abort(new Error('the agent stops'))
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  async #serve(socket: Socket): Promise<void> {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    const { readable, writable, reset } = chunksOver(socket)
    const stream = duplexStream(readable, writable, reset)
    try {
      const { line, rest } = await readLine(stream.source, (why) => new Error(why))
      const { node, ...to } = readRelayRequest(line)
      const remote = await this.#open(node, to, this.#closing.signal).catch(toError)
      if (remote instanceof Error) {
        await stream.write(jsonLine({ error: remote.message }))
        await stream.closeWrite()
        return
      }
      await stream.write(jsonLine({})).catch((error: unknown) => {
        remote.abort(toError(error))
        throw error
      })
      await joinStreams({ ...stream, source: rest }, remote)
    } catch {
      reset()
    }
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
