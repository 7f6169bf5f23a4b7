import { createServer, type Server, type Socket } from 'node:net'
import type { defaults } from '../../defaults.ts'
import type { Keeper } from '../../watchdog/keeper.ts'
import { listenPrivately } from '../private-socket.ts'
import { onLines } from './lines.ts'
import { type Question, readQuestion, type Reply, writeReply } from './protocol.ts'

export type ServerSettings = Pick<typeof defaults, 'watchdogConnectionsMax' | 'watchdogLineMaxBytes'>

/** Answers what agents ask, each after all that it changed is kept. */
export class WatchdogServer {
  readonly #keeper: Keeper
  readonly #settings: ServerSettings
  readonly #server: Server
  readonly #answers: { socket: Socket; id: number; reply: Reply }[] = []

  constructor(keeper: Keeper, settings: ServerSettings) {
    this.#keeper = keeper
    this.#settings = settings
    this.#server = createServer((socket) => this.#serve(socket))
    this.#server.maxConnections = settings.watchdogConnectionsMax
  }

  listen(path: string): Promise<void> {
    return listenPrivately(this.#server, path)
  }

  #serve(socket: Socket): void {
    socket.on('error', () => socket.destroy())
    onLines(socket, this.#settings.watchdogLineMaxBytes, (line) => {
      try {
        const { id, ...asked } = readQuestion(line)
        this.#answer(socket, id, this.#reply(asked))
      } catch {
        // Whoever speaks something else is no agent.
        socket.destroy()
      }
    })
  }

  #reply(asked: Question): Reply {
    switch (asked.ask) {
      case 'arm':
        return this.#keeper.arm(asked)
      case 'disarm':
        return this.#keeper.disarm(asked.slot, asked.fence)
      case 'list':
        return { kind: 'list', all: this.#keeper.list() }
      case 'ping':
        return { kind: 'pong', pid: process.pid }
    }
  }

  /** What came together is kept with one write. */
  #answer(socket: Socket, id: number, reply: Reply): void {
    if (this.#answers.push({ socket, id, reply }) > 1) return
    setImmediate(() => {
      const answers = this.#answers.splice(0)
      let failed: Reply | undefined
      try {
        this.#keeper.flush()
      } catch (error) {
        failed = { kind: 'failed', why: error instanceof Error ? error.message : String(error) }
      }
      for (const { socket, id, reply } of answers) socket.write(writeReply(id, failed ?? reply))
    })
  }
}
