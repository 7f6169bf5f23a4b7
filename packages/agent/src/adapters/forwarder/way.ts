import { connect, type Socket } from 'node:net'
import type { Readable } from 'node:stream'
import type { Forward, ForwardEndpoint } from '../../core/network/plane.ts'
import { jsonLine } from '../../stream-header.ts'
import { chunksOver } from './chunks.ts'
import { type End, socketEnd } from './end.ts'
import { readRelayAnswer } from './protocol.ts'

const answerMaxBytes = 8 * 1024

export interface WayParts {
  /** Where the agent listens for what is to be passed on to other nodes. */
  readonly relayPath: string
  readonly keepAliveMs: number
  readonly timeoutMs: number
}

/** No agent listens on this host at the moment: no task of another node is reached. */
export class AgentAwayError extends Error {
  readonly code = 'ERR_FORWARDER_AGENT_AWAY'
  override name = 'AgentAwayError'
  constructor(cause: unknown) {
    super('the agent of this host is away: only tasks of this host are reached', { cause })
  }
}

/** A connection to a task on this host, without anything in between. */
export async function localWay(
  address: string,
  port: number,
  { keepAliveMs, timeoutMs }: WayParts,
): Promise<End> {
  const socket = connect({
    host: address,
    port,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveMs,
  })
  await opened(socket, timeoutMs)
  return socketEnd(socket)
}

/** A connection to a task of another node, by way of the agents; of UDP its datagrams, each with its length. */
export async function remoteWay(
  { node, task }: ForwardEndpoint & { kind: 'remote' },
  { protocol, target }: Pick<Forward, 'protocol' | 'target'>,
  { relayPath, timeoutMs }: WayParts,
): Promise<End> {
  const socket = connect({ path: relayPath, allowHalfOpen: true })
  await opened(socket, timeoutMs).catch((error: unknown) => {
    throw new AgentAwayError(error)
  })
  const { readable, writable, reset } = chunksOver(socket)
  const late = setTimeout(reset, timeoutMs)
  try {
    writable.write(jsonLine({ node, task, protocol, port: target }))
    const error = readRelayAnswer(await firstLine(readable))
    if (error !== undefined) throw new Error(error)
    return { readable, writable, reset }
  } catch (error) {
    reset()
    throw error
  } finally {
    clearTimeout(late)
  }
}

function opened(socket: Socket, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
    socket.once('connect', () => {
      clearTimeout(late)
      socket.off('error', reject)
      resolve()
    })
    socket.once('error', reject)
    socket.once('close', () => clearTimeout(late))
  })
}

/** What comes after it is left in there. */
function firstLine(readable: Readable): Promise<string> {
  return new Promise((resolve, reject) => {
    let head = Buffer.alloc(0)
    const settle = (work: () => void): void => {
      readable.off('readable', look)
      readable.off('error', failed)
      readable.off('close', closed)
      work()
    }
    const failed = (error: Error): void => settle(() => reject(error))
    const closed = (): void => failed(new Error('it was closed before it was answered'))
    const look = (): void => {
      for (let chunk: Buffer | null; (chunk = readable.read() as Buffer | null) !== null;) {
        head = Buffer.concat([head, chunk])
        const end = head.indexOf(10)
        if (end >= 0) {
          settle(() => {
            if (end + 1 < head.length) readable.unshift(head.subarray(end + 1))
            resolve(head.toString('utf8', 0, end))
          })
          return
        }
        if (head.length > answerMaxBytes) return failed(new Error('it was answered with no line'))
      }
    }
    readable.on('readable', look)
    readable.on('error', failed)
    readable.on('close', closed)
    look()
  })
}
