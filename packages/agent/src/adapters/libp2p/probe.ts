import type { ProbeResult } from '../../ports/mesh.ts'
import { knockAny } from './knock.ts'
import type { Link } from './link.ts'

interface ProbeContext {
  readonly timeoutMs: number
  /** The accepted connection to it, if there is one. */
  readonly link: Link | undefined
  /** Where its mesh port should be. Asked for only when the kernel must be asked: it reads the network interfaces. */
  doors(): readonly { readonly host: string; readonly port: number }[]
  /** An accepted connection, made now. */
  connect(signal: AbortSignal): Promise<Link>
  /** Nobody is at the other end of its connections any more. */
  connectionsDead(): void
}

/** An answer within this part of the time needs no second opinion from the kernel of the other host. */
const patience = 1 / 3

/**
 * Is its agent there (`answered`), only its host (`refused`), or nothing (`silent`)? Asks over the connection; when
 * no answer comes soon, or there is no connection, the host's kernel is asked by a TCP connect: a stopped agent's
 * host still accepts or refuses it, a host that is off does neither.
 */
export function probeNode(context: ProbeContext): Promise<ProbeResult> {
  const { timeoutMs, link } = context
  const startMs = performance.now()
  const over = new AbortController()
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
  return Promise.race([answered.catch(() => never), secondOpinion()]).finally(() => {
    clearTimeout(timer)
    over.abort(new Error('the probe is over'))
  })
}

const never = new Promise<never>(() => undefined)

/** Until then, or until the signal: whichever comes first. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, Math.max(0, ms))
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    if (signal.aborted) done()
    else signal.addEventListener('abort', done, { once: true })
  })
}
