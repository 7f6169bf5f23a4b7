import { createServer, type Server, type Socket } from 'node:net'
import type { defaults } from '../../defaults.ts'
import type { Desk } from './desk.ts'
import { framed, Messages } from '../messages.ts'
import { questionMaxBytes } from './question.ts'
import { Shares } from './shares.ts'

export type TcpSettings = Pick<
  typeof defaults,
  | 'nameServerConnectionsMax'
  | 'nameServerConnectionsPerAsker'
  | 'nameServerConnectionIdleMs'
  | 'nameServerQuestionsPerConnection'
>

export async function openTcp(desk: Desk, port: number, settings: TcpSettings): Promise<TcpDoor> {
  const door = new TcpDoor(desk, settings)
  await door.listen(port)
  return door
}

/** Many questions over one connection, answered in whatever order (RFC 7766). */
export class TcpDoor {
  readonly #desk: Desk
  readonly #settings: TcpSettings
  readonly #server: Server
  readonly #shares: Shares
  readonly #sockets = new Set<Socket>()
  #closed: Promise<void> | undefined

  constructor(desk: Desk, settings: TcpSettings) {
    this.#desk = desk
    this.#settings = settings
    this.#shares = new Shares(settings.nameServerConnectionsMax, settings.nameServerConnectionsPerAsker)
    // Whoever has asked all may say so, and still wants the answers.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#serve(socket))
  }

  listen(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ port, host: '0.0.0.0', reusePort: true }, () => {
        this.#server.on('error', () => this.#desk.counters.dropped++)
        resolve()
      })
    })
  }

  /** No more connections. Those that are there go on until they are idle. */
  close(): void {
    this.#closed ??= new Promise((resolve) => {
      this.#server.close(() => resolve())
    })
  }

  /** It is closed, and no connection is left. */
  async drained(): Promise<void> {
    await this.#closed
  }

  /** Whatever is still there ends. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #serve(socket: Socket): void {
    const asker = socket.remoteAddress
    const port = socket.remotePort
    // Whoever is on no network has nothing to ask for, and takes no place.
    const isWelcome = asker !== undefined && this.#desk.index?.askerAt(asker) !== undefined
    if (!isWelcome || port === undefined || !this.#shares.take(asker)) {
      if (asker !== undefined && !isWelcome) this.#desk.counters.refused++
      else this.#desk.counters.dropped++
      socket.destroy()
      return
    }
    this.#sockets.add(socket)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.#shares.giveBack(asker)
    })
    socket.on('error', () => socket.destroy())
    socket.setTimeout(this.#settings.nameServerConnectionIdleMs, () => socket.destroy())
    const max = this.#settings.nameServerQuestionsPerConnection
    let open = 0
    let hasAskedAll = false
    const endIfDone = (): void => {
      if (hasAskedAll && open === 0) socket.end()
    }
    const goOn = (): void => {
      if (open < max && !socket.writableNeedDrain) socket.resume()
    }
    const messages = new Messages(questionMaxBytes, (message) => {
      open++
      const isAnswered = this.#desk.receive({ message, asker, port, transport: 'tcp' }, (answer) => {
        open--
        if (socket.writable) socket.write(framed(answer))
        goOn()
        endIfDone()
      })
      // Whoever sends what is no question has lost count of its bytes.
      if (!isAnswered) socket.destroy()
    })
    socket.on('data', (chunk: Buffer) => {
      if (!messages.push(chunk)) socket.destroy()
      // The kernel's window fills up, and the asker waits.
      if (open >= max || socket.writableNeedDrain) socket.pause()
    })
    socket.on('drain', goOn)
    socket.on('end', () => {
      hasAskedAll = true
      endIfDone()
    })
  }
}
