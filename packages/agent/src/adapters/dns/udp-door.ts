import { createSocket, type Socket } from 'node:dgram'
import type { Desk } from './desk.ts'
import { literally } from './exchange.ts'

/** Bytes of answers that wait for the kernel: what would wait longer is late, and asked for again. */
const sendQueueMaxBytes = 512 * 1024

/** What waits to be read while this process has not its turn; the kernel gives less where it allows less. */
const receiveBufferBytes = 1024 * 1024

/** @param desk takes what comes, from the moment on at which this resolves. */
export async function openUdp(desk: Desk, port: number): Promise<UdpDoor> {
  // Shared with the next one, while that takes over.
  const socket = createSocket({ type: 'udp4', reusePort: true, lookup: literally })
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.bind({ port, address: '0.0.0.0' }, resolve)
  })
  return new UdpDoor(desk, socket)
}

export class UdpDoor {
  readonly #socket: Socket
  #isClosed = false

  constructor(desk: Desk, socket: Socket) {
    this.#socket = socket
    try {
      socket.setRecvBufferSize(receiveBufferBytes)
    } catch {
      // Then there is less of it.
    }
    socket.on('error', () => desk.counters.dropped++)
    socket.on('message', (message, { address: asker, port }) => {
      // A forged port: nothing can be sent to it.
      if (port === 0) return
      desk.receive({ message, asker, port, transport: 'udp' }, (answer) => {
        if (this.#isClosed || socket.getSendQueueSize() > sendQueueMaxBytes) desk.counters.dropped++
        // Without the callback a failure would end the process: a container that is gone is none.
        else socket.send(answer, port, asker, ignore)
      })
    })
  }

  /** What has not been answered by now is not answered from here. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#socket.close()
  }
}

function ignore(): void {}
