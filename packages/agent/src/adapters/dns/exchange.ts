import { randomInt } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'
import { tcpMaxBytes } from './answer.ts'
import { framed, Messages } from '../messages.ts'

/** One question to one other name server. */
export interface Exchange {
  readonly server: string
  readonly port: number
  /** With whatever id: each exchange draws its own. */
  readonly question: Buffer
  readonly signal: AbortSignal
}

/** A question that has left by UDP: whoever sees it come in sees a loop. */
export interface Sent {
  readonly id: number
  readonly port: number
}

/**
 * Asks from a port and with an id that nobody can guess, and takes only what comes from there for that (RFC 5452). Rejects when the
 * server cannot be reached, or with the signal.
 */
export async function exchangeUdp(exchange: Exchange, onSent: (sent: Sent) => void): Promise<Buffer> {
  const { server, port, signal } = exchange
  const { question, id } = withFreshId(exchange.question)
  signal.throwIfAborted()
  const socket = createSocket({ type: isIPv6(server) ? 'udp6' : 'udp4', lookup: literally })
  const answer = Promise.withResolvers<Buffer>()
  const abort = (): void => answer.reject(signal.reason as Error)
  signal.addEventListener('abort', abort, { once: true })
  try {
    socket.on('error', answer.reject)
    // The kernel draws the port, and drops what comes from elsewhere.
    socket.connect(port, server, () => {
      onSent({ id, port: socket.address().port })
      socket.send(question)
    })
    socket.on('message', (message) => {
      // Anything else may be a forgery, and the answer may still come.
      if (isAnswerTo(question, message)) answer.resolve(message)
    })
    return await answer.promise
  } finally {
    signal.removeEventListener('abort', abort)
    close(socket)
  }
}

/** The same over TCP, for an answer that UDP has no room for. */
export async function exchangeTcp(exchange: Exchange): Promise<Buffer> {
  const { server, port, signal } = exchange
  const { question } = withFreshId(exchange.question)
  signal.throwIfAborted()
  const socket = connect({ host: server, port, signal })
  const answer = Promise.withResolvers<Buffer>()
  try {
    socket.on('error', answer.reject)
    socket.on('close', () => answer.reject(new Error(`${server} closed the connection without an answer`)))
    const messages = new Messages(tcpMaxBytes, (message) => {
      if (isAnswerTo(question, message)) answer.resolve(message)
    })
    socket.on('data', (chunk: Buffer) => messages.push(chunk))
    socket.write(framed(question))
    return await answer.promise
  } finally {
    socket.destroy()
  }
}

export function isTruncated(answer: Buffer): boolean {
  return (answer.readUInt16BE(2) & 0x0200) !== 0
}

export function withId(message: Buffer, id: number): Buffer {
  const copy = Buffer.from(message)
  copy.writeUInt16BE(id, 0)
  return copy
}

function withFreshId(message: Buffer): { readonly question: Buffer; readonly id: number } {
  const id = randomInt(0x1_0000)
  return { question: withId(message, id), id }
}

/** An answer, with the id and the one question; some servers send the letters back in lower case. */
function isAnswerTo(question: Buffer, message: Buffer): boolean {
  if (message.length < 12 || message.readUInt16BE(0) !== question.readUInt16BE(0)) return false
  if ((message.readUInt16BE(2) & 0x8000) === 0 || message.readUInt16BE(4) !== 1) return false
  const end = endOfSection(question)
  const section = (from: Buffer): string => from.toString('latin1', 12, end).toLowerCase()
  return message.length >= end && section(message) === section(question)
}

/** Of a question that was read without a fault. */
function endOfSection(question: Buffer): number {
  let at = 12
  while (question.readUInt8(at) !== 0) at += 1 + question.readUInt8(at)
  return at + 5
}

function close(socket: Socket): void {
  try {
    socket.close()
  } catch {
    // It could not even be opened.
  }
}

/** Addresses are all that sockets here are given: asking the system what they mean would cost a thread. */
export function literally(
  address: string,
  _options: unknown,
  callback: (error: null, address: string, family: number) => void,
): void {
  callback(null, address, isIPv6(address) ? 6 : 4)
}
