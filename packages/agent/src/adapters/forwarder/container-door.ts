import { connect } from 'node:net'
import { PassThrough, Writable } from 'node:stream'
import type { Forward } from '../../core/network/plane.ts'
import type { ByteStream } from '../../ports/mesh.ts'
import { framed, Messages } from '../messages.ts'
import { duplexStream } from './duplex-stream.ts'
import { localSocket } from './local-socket.ts'

const datagramMaxBytes = 65_535

/** A connection to a container of this host, for another node's forwarder. */
export function connectTo(
  protocol: Forward['protocol'],
  address: string,
  port: number,
  signal: AbortSignal,
): Promise<ByteStream> {
  return protocol === 'tcp' ? connectTcp(address, port, signal) : connectUdp(address, port)
}

async function connectTcp(address: string, port: number, signal: AbortSignal): Promise<ByteStream> {
  const socket = connect({ host: address, port, allowHalfOpen: true, noDelay: true })
  const abort = (): void => void socket.destroy(signal.reason as Error)
  signal.addEventListener('abort', abort, { once: true })
  try {
    signal.throwIfAborted()
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
  } finally {
    signal.removeEventListener('abort', abort)
  }
  return duplexStream(socket, socket, () => {
    if (!socket.destroyed) socket.resetAndDestroy()
  })
}

/** Nobody can say that it is not there; datagrams that are refused break it off. */
async function connectUdp(address: string, port: number): Promise<ByteStream> {
  const socket = await localSocket(address, port)
  const answers = new PassThrough()
  const messages = new Messages(datagramMaxBytes, (message) => socket.send(message, () => undefined))
  const questions = new Writable({
    write(chunk: Buffer, _encoding, done) {
      messages.push(chunk)
      done()
    },
  })
  let isClosed = false
  const close = (): void => {
    if (!isClosed) socket.close()
    isClosed = true
  }
  const destroy = (error: Error): void => {
    close()
    answers.destroy(error)
    questions.destroy(error)
  }
  // Whoever asked has ended: nothing more can be an answer.
  questions.on('finish', () => {
    close()
    answers.end()
  })
  socket.on('error', destroy)
  socket.on('message', (message) => {
    if (!answers.writableNeedDrain) answers.write(framed(message))
  })
  return duplexStream(answers, questions, destroy)
}
