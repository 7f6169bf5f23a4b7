import type { TaskId } from '@moot/crdt-state'
import type { ForwardEndpoint } from '../../core/network/plane.ts'
import { framed, Messages } from '../messages.ts'
import type { End } from './end.ts'
import { localSocket } from './local-socket.ts'
import { remoteWay, type WayParts } from './way.ts'

const datagramMaxBytes = 65_535

export interface SessionParts {
  readonly endpoint: ForwardEndpoint
  readonly target: number
  readonly way: WayParts
  /** Datagrams that wait until it is open. */
  readonly waitingMax: number
  readonly answer: (bytes: Buffer) => void
  /** Called once, however it ended. */
  readonly over: () => void
}

/** One client of a UDP port, and the endpoint that it was led to. */
export class Session {
  readonly task: TaskId
  readonly #parts: SessionParts
  #state:
    | { readonly kind: 'opening'; readonly waiting: Buffer[] }
    | { readonly kind: 'open'; readonly send: (message: Buffer) => void; readonly end: () => void }
    | { readonly kind: 'ended' } = { kind: 'opening', waiting: [] }

  constructor(parts: SessionParts) {
    this.task = parts.endpoint.task
    this.#parts = parts
    this.#open().catch(() => this.end())
  }

  /** What cannot be sent is lost, as a datagram may be. */
  send(message: Buffer): void {
    const state = this.#state
    if (state.kind === 'open') state.send(message)
    if (state.kind === 'opening' && state.waiting.length < this.#parts.waitingMax) state.waiting.push(message)
  }

  end(): void {
    const state = this.#state
    if (state.kind === 'ended') return
    this.#state = { kind: 'ended' }
    if (state.kind === 'open') state.end()
    this.#parts.over()
  }

  async #open(): Promise<void> {
    const { endpoint, target, way } = this.#parts
    if (endpoint.kind === 'local') {
      const socket = await localSocket(endpoint.address, target)
      this.#opened(
        (message) => socket.send(message, () => undefined),
        () => socket.close(),
      )
      socket.on('message', (bytes) => this.#parts.answer(bytes))
      // Refused: the next datagram goes to another.
      socket.on('error', () => this.end())
      return
    }
    const end = await remoteWay(endpoint, { protocol: 'udp', target }, way)
    this.#opened((message) => sendOver(end, message), end.reset)
    const messages = new Messages(datagramMaxBytes, (bytes) => this.#parts.answer(bytes))
    end.readable.on('data', (chunk: Buffer) => messages.push(chunk))
    end.readable.on('close', () => this.end())
  }

  #opened(send: (message: Buffer) => void, end: () => void): void {
    const state = this.#state
    if (state.kind !== 'opening') {
      end()
      return
    }
    this.#state = { kind: 'open', send, end }
    for (const message of state.waiting) send(message)
  }
}

function sendOver({ writable }: End, message: Buffer): void {
  if (writable.writable && !writable.writableNeedDrain) writable.write(framed(message))
}
