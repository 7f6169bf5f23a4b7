import { setImmediate } from 'node:timers/promises'
import type { ProbeResult } from '../../ports/mesh.ts'
import type { Question } from './datagram/datagrams.ts'
import { knockAny } from './knock.ts'
import type { Link } from './link.ts'

interface ProbeContext {
  readonly timeoutMs: number
  /** What it was asked by datagram, if that is possible now. */
  readonly question: Question | undefined
  /** An agent whose main loop has not turned for so long hangs. */
  readonly hungAfterMs: number
  /** The accepted connection to it, if there is one. */
  link(): Link | undefined
  /** Where its mesh port should be. Asked for only when the kernel must be asked: it reads the network interfaces. */
  doors(): readonly { readonly host: string; readonly port: number }[]
  /** An accepted connection, made now. */
  connect(signal: AbortSignal): Promise<Link>
  /** Nobody is at the other end of its connections any more. */
  connectionsDead(): void
}

/** An answer within this part of the time needs no second opinion: of the connection, or of the other host's kernel. */
const patience = 1 / 3

/**
 * Is its agent there (`answered`), only its host (`refused`), or nothing (`silent`)? Datagrams are answered by a thread
 * of their own, however busy the agent is; where no answer comes soon, the connection is asked as well.
 */
export async function probeNode(context: ProbeContext): Promise<ProbeResult> {
  const { question, timeoutMs } = context
  const over = new AbortController()
  try {
    if (question === undefined) return await probeByConnection(context, timeoutMs, over)
    return await probeBothWays(context, question, over)
  } finally {
    over.abort(new Error('the probe is over'))
  }
}

async function probeBothWays(
  context: ProbeContext,
  question: Question,
  over: AbortController,
): Promise<ProbeResult> {
  const { timeoutMs, hungAfterMs } = context
  const startMs = performance.now()
  const byDatagram = question.answer.then((answer): ProbeResult | undefined => {
    if (answer === undefined) return undefined
    if (answer.ageMs >= hungAfterMs) return { kind: 'refused' }
    return { kind: 'answered', roundTripMs: answer.roundTripMs }
  })
  const early = await Promise.race([byDatagram, pause(timeoutMs * patience, over.signal)])
  if (early !== undefined) return early
  const leftMs = Math.max(0, timeoutMs - (performance.now() - startMs))
  const byConnection = probeByConnection(context, leftMs, over).then((result) => {
    if (result.kind === 'answered') question.connectionAnswered()
    return result
  })
  const result = await Promise.race([byDatagram.then((found) => found ?? byConnection), byConnection])
  if (result.kind === 'answered') return result
  // Where this process was held up until now, the thread's word may lie here and not be read yet.
  await setImmediate()
  return (await Promise.race([byDatagram, Promise.resolve(undefined)])) ?? result
}

/**
 * Asks over the connection; when no answer comes soon, or there is no connection, the host's kernel is asked by a TCP
 * connect: a stopped agent's host still accepts or refuses it, a host that is off does neither.
 */
function probeByConnection(
  context: ProbeContext,
  timeoutMs: number,
  over: AbortController,
): Promise<ProbeResult> {
  const link = context.link()
  const startMs = performance.now()
  const timer = setTimeout(() => over.abort(new Error('no answer in time')), timeoutMs)
  const answered = (async (): Promise<ProbeResult> => {
    const roundTripMs = await (link ?? (await context.connect(over.signal))).ping(over.signal)
    return { kind: 'answered', roundTripMs }
  })()
  const secondOpinion = async (): Promise<ProbeResult> => {
    if (link !== undefined) await pause(timeoutMs * patience, over.signal)
    // It answered, or there is no time left to ask: no connection is made for nothing.
    if (over.signal.aborted) return { kind: 'silent' }
    const kernel = await knockAny(context.doors(), over.signal)
    if (kernel === 'refused') {
      // Nobody listens: the process is gone, and an open connection is only not told yet.
      if (link !== undefined) context.connectionsDead()
      return { kind: 'refused' }
    }
    // Open: the agent may answer late. Silent: the connection may still be good while new ones get no way.
    await pause(startMs + timeoutMs - performance.now(), over.signal)
    return { kind: kernel === 'open' ? 'refused' : 'silent' }
  }
  return Promise.race([answered.catch(() => never), secondOpinion()]).finally(() => clearTimeout(timer))
}

const never = new Promise<never>(() => undefined)

/** Until then, or until the signal: whichever comes first. */
function pause(ms: number, signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, Math.max(0, ms))
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve(undefined)
    }
    if (signal.aborted) done()
    else signal.addEventListener('abort', done, { once: true })
  })
}
