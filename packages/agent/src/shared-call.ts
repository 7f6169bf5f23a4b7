/**
 * Waits for something that others wait for too: giving up (by `signal`) ends this wait, never the thing itself, which
 * must be bounded in time of its own.
 */
export async function waitFor<T>(shared: Promise<T>, signal: AbortSignal): Promise<T> {
  // Who has given up before it began to wait must not leave a failure that nobody handles: it would end the agent.
  shared.catch(() => undefined)
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([shared, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** For shared calls: ended by their time bound alone. */
export const unaborted: AbortSignal = new AbortController().signal
