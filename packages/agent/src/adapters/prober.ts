import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import type { ProbeAnswer } from '../core/health/probe.ts'
import type { Defaults } from '../defaults.ts'
import {
  failure,
  lateAnswer,
  type ProbeQuestion,
  type Prober,
  refusedAnswer,
  statusAnswer,
} from '../ports/prober.ts'

type Settings = Pick<Defaults, 'healthBodyMaxBytes' | 'healthBodyTimeoutMs'>

/** Over this host's own network, by a connection of its own for each question. */
export function networkProber(settings: Settings): Prober {
  return {
    async probe(question, signal) {
      signal.throwIfAborted()
      const late = AbortSignal.timeout(question.timeoutMs)
      const either = AbortSignal.any([signal, late])
      const answer =
        question.check.kind === 'http'
          ? await httpAnswer(question, question.check.path, either, settings)
          : await tcpAnswer(question, either)
      signal.throwIfAborted()
      return answer
    },
  }
}

function httpAnswer(
  question: ProbeQuestion,
  path: string,
  signal: AbortSignal,
  settings: Settings,
): Promise<ProbeAnswer> {
  const { address, check } = question
  return new Promise((resolve) => {
    let asked: ClientRequest
    try {
      asked = request({
        host: address,
        port: check.port,
        path,
        method: 'GET',
        agent: false,
        headers: { 'User-Agent': 'moot-probe', Accept: '*/*', Connection: 'close' },
        signal,
      })
    } catch (error) {
      resolve(failure(check, `→ ${messageOf(error)}`))
      return
    }
    let isAnswered = false
    const without = (answer: ProbeAnswer): void => {
      if (!isAnswered) resolve(answer)
    }
    asked.once('response', (response) => {
      // The status counts, whatever becomes of the rest.
      isAnswered = true
      drain(response, settings, () => {
        asked.destroy()
        resolve(statusAnswer(check, response.statusCode ?? 0))
      })
    })
    asked.once('upgrade', (_response, socket) => {
      socket.destroy()
      without(statusAnswer(check, 101))
    })
    // Stays registered: a request that is destroyed may report a second error.
    asked.on('error', (error: NodeJS.ErrnoException) => without(troubleOf(question, error, signal)))
    asked.once('close', () => without(failure(check, '→ connection closed without an answer')))
    asked.end()
  })
}

/** Until the body is over, or has been long enough in bytes or time. */
function drain(response: IncomingMessage, settings: Settings, done: () => void): void {
  let bytes = 0
  const timer = setTimeout(done, settings.healthBodyTimeoutMs)
  const end = (): void => {
    clearTimeout(timer)
    done()
  }
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > settings.healthBodyMaxBytes) end()
  })
  response.once('close', end)
  response.on('error', end)
}

function tcpAnswer(question: ProbeQuestion, signal: AbortSignal): Promise<ProbeAnswer> {
  const { address, check } = question
  return new Promise((resolve) => {
    const socket = connect({ host: address, port: check.port })
    const done = (answer: ProbeAnswer): void => {
      signal.removeEventListener('abort', late)
      socket.destroy()
      resolve(answer)
    }
    const late = (): void => done(lateAnswer(question))
    socket.once('connect', () => done({ kind: 'passed' }))
    socket.on('error', (error: NodeJS.ErrnoException) => done(troubleOf(question, error, signal)))
    if (signal.aborted) late()
    else signal.addEventListener('abort', late, { once: true })
  })
}

function troubleOf(question: ProbeQuestion, error: NodeJS.ErrnoException, signal: AbortSignal): ProbeAnswer {
  if (signal.aborted) return lateAnswer(question)
  if (error.code === 'ECONNREFUSED') return refusedAnswer(question.check)
  return failure(question.check, `→ ${messageOf(error)}`)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
