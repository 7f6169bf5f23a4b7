import { connect, type Socket } from 'node:net'
import type { defaults } from '../../defaults.ts'
import { onFrames } from './frames.ts'
import type { CommonQuestion, CommonReply, Hello, Wire } from './wire.ts'

export type LineSettings = Pick<typeof defaults, 'detachedCallTimeoutMs' | 'detachedFrameMaxBytes'>

const secondLookMs = 50

/** One connection to a process that outlives the agent. Whoever does not answer in time is taken for dead. */
export class Line<Question, Reply> {
  readonly #socket: Socket
  readonly #wire: Wire<Question, Reply>
  readonly #settings: LineSettings
  readonly #onEnd: (error: Error) => void
  readonly #waiting = new Map<number, PromiseWithResolvers<Reply | CommonReply>>()
  #asked = 0
  #ended: Error | undefined

  private constructor(
    socket: Socket,
    wire: Wire<Question, Reply>,
    settings: LineSettings,
    onEnd: (error: Error) => void,
  ) {
    this.#socket = socket
    this.#wire = wire
    this.#settings = settings
    this.#onEnd = onEnd
  }

  /**
   * Rejects if nobody listens at `path`.
   * @param onEnd it ended, though nobody here has closed it; before any question that it has left unanswered rejects.
   */
  static async open<Question, Reply>(
    path: string,
    wire: Wire<Question, Reply>,
    settings: LineSettings,
    onEnd: (error: Error) => void,
  ): Promise<Line<Question, Reply>> {
    const socket = connect(path)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    const line = new Line(socket, wire, settings, onEnd)
    socket.on('error', (error) => line.#end(error))
    socket.on('close', () => line.#end(new Error('its process ended')))
    // The agent may end whenever it wants to.
    socket.unref()
    onFrames(socket, settings.detachedFrameMaxBytes, (text) => line.#hear(text))
    return line
  }

  async ask(question: Question | CommonQuestion): Promise<Reply | CommonReply> {
    if (this.#ended !== undefined) throw this.#ended
    const { detachedCallTimeoutMs: timeoutMs } = this.#settings
    const id = this.#asked++
    const waiting = Promise.withResolvers<Reply | CommonReply>()
    this.#waiting.set(id, waiting)
    const isHung = (): void => this.#end(new HungError(`no answer within ${timeoutMs} ms`))
    // An agent that has stood still itself first reads what has come meanwhile.
    let timer = setTimeout(() => (timer = setTimeout(isHung, secondLookMs)), timeoutMs)
    this.#socket.write(this.#wire.writeQuestion(id, question))
    try {
      return await waiting.promise
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(id)
    }
  }

  async hello(): Promise<Hello> {
    const reply = await this.ask({ ask: 'hello' })
    if (!isHello(reply)) throw new Error('it answers something else to a hello')
    return reply
  }

  close(): void {
    this.#ended ??= new Error('the agent has let go of it')
    this.#rejectAll(this.#ended)
  }

  #hear(text: string): void {
    try {
      const reply = this.#wire.readReply(text)
      this.#waiting.get(reply.id)?.resolve(reply)
    } catch (error) {
      this.#end(new Error('it says what this agent does not understand', { cause: error }))
    }
  }

  #end(error: Error): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    this.#onEnd(error)
    this.#rejectAll(error)
  }

  #rejectAll(error: Error): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#socket.destroy()
  }
}

function isHello(reply: unknown): reply is Hello {
  return typeof reply === 'object' && reply !== null && 'kind' in reply && reply.kind === 'hello'
}

/** It took the connection, and says nothing. */
export class HungError extends Error {
  override name = 'HungError'
}
