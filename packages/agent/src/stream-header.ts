/** What a stream between agents begins with: one line of JSON from each side, before its own bytes. */
const maxHeaderBytes = 8192

export function jsonLine(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value)}\n`)
}

/** @param failed makes what is thrown where there is no such line. */
export async function readLine(
  source: AsyncIterable<Uint8Array>,
  failed: (why: string) => Error,
): Promise<{ readonly line: string; readonly rest: AsyncIterable<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]()
  let head: Uint8Array = new Uint8Array(0)
  for (;;) {
    const { value, done } = await iterator.next()
    if (done === true) throw failed('the other node closed the stream before it answered')
    head = Buffer.concat([head, value])
    const end = head.indexOf(10)
    if (end >= 0) {
      const after = head.subarray(end + 1)
      return { line: new TextDecoder().decode(head.subarray(0, end)), rest: prepend(after, iterator) }
    }
    if (head.length > maxHeaderBytes) throw failed('the other node sent no header line')
  }
}

async function* prepend(first: Uint8Array, iterator: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (first.length > 0) yield first
  for (;;) {
    const { value, done } = await iterator.next()
    if (done === true) return
    yield value
  }
}
