import { connect } from 'node:net'

/** What the kernel of a host says to a TCP connection attempt, whatever its agent does. */
export type Knock = 'open' | 'refused' | 'silent'

const silences = new Set([
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
])

/** An accepted handshake or a reset means that the host lives; no answer or "no route" that nothing is known to. */
export function knock(host: string, port: number, signal: AbortSignal): Promise<Knock> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const done = (result: Knock): void => {
      signal.removeEventListener('abort', silent)
      socket.destroy()
      resolve(result)
    }
    const silent = (): void => done('silent')
    socket.once('connect', () => done('open'))
    // Stays registered: a socket may report a second error while it is destroyed. Trouble of our own (no more files)
    // must not make another host look dead, so only what means silence is silence.
    socket.on('error', (error: NodeJS.ErrnoException) =>
      done(silences.has(error.code ?? '') ? 'silent' : 'refused'),
    )
    if (signal.aborted) silent()
    else signal.addEventListener('abort', silent, { once: true })
  })
}

/** The best answer of several addresses: one that is open ends the question. */
export async function knockAny(
  addresses: readonly { readonly host: string; readonly port: number }[],
  signal: AbortSignal,
): Promise<Knock> {
  const stop = new AbortController()
  const either = AbortSignal.any([signal, stop.signal])
  try {
    const answers = addresses.map(async ({ host, port }) => {
      const answer = await knock(host, port, either)
      if (answer !== 'open') throw new Error(answer)
      return answer
    })
    return await Promise.any(answers)
  } catch (error) {
    const all = error instanceof AggregateError ? (error.errors as readonly Error[]) : []
    return all.some((one) => one.message === 'refused') ? 'refused' : 'silent'
  } finally {
    stop.abort()
  }
}
