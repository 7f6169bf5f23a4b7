import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import type { defaults } from '../../defaults.ts'
import { onFrames } from './frames.ts'
import { type Question, readQuestion, type Reply, writeReply } from './protocol.ts'

export type ControlSettings = Pick<typeof defaults, 'nameServerControlMax' | 'nameServerFrameMaxBytes'>

/** What an agent asks of a name server's process. What it rejects with is told to who asked. */
export type Answerer = (asked: Question) => Promise<Reply>

/** The unix socket on which agents speak to it. */
export class Control {
  readonly #answer: Answerer
  readonly #settings: ControlSettings
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #path: string | undefined

  constructor(answer: Answerer, settings: ControlSettings) {
    this.#answer = answer
    this.#settings = settings
    this.#server = createServer((socket) => this.#serve(socket))
    this.#server.maxConnections = settings.nameServerControlMax
  }

  async listen(path: string): Promise<void> {
    rmSync(path, { force: true })
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(path, resolve)
    })
    chmodSync(path, 0o600)
    this.#path = path
  }

  /** Nobody reaches it any more; removes its socket from the directory. */
  close(): void {
    if (this.#path !== undefined) rmSync(this.#path, { force: true })
    this.#server.close()
  }

  /** Says what is left to be said. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.end()
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    onFrames(socket, this.#settings.nameServerFrameMaxBytes, (text) => {
      try {
        const { id, ...asked } = readQuestion(text)
        void this.#reply(socket, id, asked)
      } catch {
        // Whoever speaks something else is no agent.
        socket.destroy()
      }
    })
  }

  async #reply(socket: Socket, id: number, asked: Question): Promise<void> {
    const reply = await this.#answer(asked).catch((error: unknown): Reply => ({
      kind: 'failed',
      why: wordsOf(error),
    }))
    if (socket.writable) socket.write(writeReply(id, reply))
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
