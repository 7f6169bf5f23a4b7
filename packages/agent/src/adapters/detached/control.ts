import { rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import type { defaults } from '../../defaults.ts'
import { listenPrivately } from '../private-socket.ts'
import { onFrames } from './frames.ts'
import type { CommonQuestion, CommonReply, Wire } from './wire.ts'

export type ControlSettings = Pick<typeof defaults, 'detachedControlMax' | 'detachedFrameMaxBytes'>

/** What an agent asks of such a process. What it rejects with is told to who asked. */
export type Answerer<Question, Reply> = (asked: Question | CommonQuestion) => Promise<Reply | CommonReply>

/** The unix socket on which agents speak to it. */
export class Control<Question, Reply> {
  readonly #answer: Answerer<Question, Reply>
  readonly #wire: Wire<Question, Reply>
  readonly #settings: ControlSettings
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #path: string | undefined

  constructor(answer: Answerer<Question, Reply>, wire: Wire<Question, Reply>, settings: ControlSettings) {
    this.#answer = answer
    this.#wire = wire
    this.#settings = settings
    this.#server = createServer((socket) => this.#serve(socket))
    this.#server.maxConnections = settings.detachedControlMax
  }

  async listen(path: string): Promise<void> {
    await listenPrivately(this.#server, path)
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
    onFrames(socket, this.#settings.detachedFrameMaxBytes, (text) => {
      try {
        const asked = this.#wire.readQuestion(text)
        void this.#reply(socket, asked.id, asked)
      } catch {
        // Whoever speaks something else is no agent.
        socket.destroy()
      }
    })
  }

  async #reply(socket: Socket, id: number, asked: Question | CommonQuestion): Promise<void> {
    const reply = await this.#answer(asked).catch((error: unknown): CommonReply => ({
      kind: 'failed',
      why: wordsOf(error),
    }))
    if (socket.writable) socket.write(this.#wire.writeReply(id, reply))
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
