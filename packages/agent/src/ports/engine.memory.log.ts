/** What one container in memory has printed, served as Docker serves it. */
export class MemoryLog {
  readonly #lines: { readonly stream: 1 | 2; readonly text: string }[] = []
  readonly #waiters = new Set<() => void>()

  print(stream: 1 | 2, text: string): void {
    this.#lines.push({ stream, text })
    this.wake()
  }

  /** Readers look again: a line came, or the container ended. */
  wake(): void {
    for (const waiter of this.#waiters) waiter()
  }

  /** Of Docker's query: `follow`, `stdout`, `stderr` and `tail`. Ends with the container (`grows` false) or the signal. */
  async *frames(
    query: URLSearchParams,
    grows: () => boolean,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const asked = (name: string): boolean => ['1', 'true'].includes(query.get(name) ?? '')
    const tail = Number(query.get('tail') ?? 'all')
    let next = Number.isNaN(tail) ? 0 : Math.max(0, this.#lines.length - tail)
    while (!signal.aborted) {
      for (; next < this.#lines.length; next++) {
        const line = this.#lines[next]
        if (line !== undefined && asked(line.stream === 1 ? 'stdout' : 'stderr')) yield frame(line)
      }
      if (!asked('follow') || !grows() || signal.aborted) return
      await this.#change(signal)
    }
  }

  async #change(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const wake = (): void => resolve()
    this.#waiters.add(wake)
    signal.addEventListener('abort', wake, { once: true })
    try {
      await promise
    } finally {
      this.#waiters.delete(wake)
      signal.removeEventListener('abort', wake)
    }
  }
}

/** One frame of Docker's multiplexed log stream: stream, three zero bytes, length (big endian), bytes. */
function frame(line: { readonly stream: 1 | 2; readonly text: string }): Uint8Array {
  const payload = new TextEncoder().encode(line.text.endsWith('\n') ? line.text : `${line.text}\n`)
  const bytes = new Uint8Array(8 + payload.length)
  bytes[0] = line.stream
  new DataView(bytes.buffer).setUint32(4, payload.length)
  bytes.set(payload, 8)
  return bytes
}
