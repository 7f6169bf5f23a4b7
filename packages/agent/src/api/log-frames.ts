/** Docker's multiplexed stream: 1 byte stream (1 stdout, 2 stderr), 3 zero, 4 length (big endian), payload. */
export interface LogFrame {
  readonly stream: 1 | 2
  readonly payload: Buffer
}

export function encodeFrame({ stream, payload }: LogFrame): Buffer {
  const head = Buffer.alloc(8)
  head[0] = stream
  head.writeUInt32BE(payload.length, 4)
  return Buffer.concat([head, payload])
}

/** Frames from bytes cut anywhere. Throws on a length above `maxFrameBytes`: that is no log. */
export async function* decodeFrames(
  source: AsyncIterable<Uint8Array>,
  maxFrameBytes: number,
): AsyncGenerator<LogFrame> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of source) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk])
    while (rest.length >= 8) {
      const length = rest.readUInt32BE(4)
      if (length > maxFrameBytes) throw new Error(`a log frame claims ${length} bytes: this is no log stream`)
      if (rest.length < 8 + length) break
      yield { stream: rest[0] === 2 ? 2 : 1, payload: rest.subarray(8, 8 + length) }
      rest = rest.subarray(8 + length)
    }
  }
}

/** Lines with their line end, from bytes cut anywhere; a line longer than `maxLineBytes` comes in pieces. */
export async function* decodeLines(
  source: AsyncIterable<Uint8Array>,
  maxLineBytes: number,
): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of source) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk])
    for (;;) {
      const end = rest.indexOf(10)
      const cut = end >= 0 ? end + 1 : rest.length >= maxLineBytes ? rest.length : 0
      if (cut === 0) break
      yield rest.subarray(0, cut)
      rest = rest.subarray(cut)
    }
  }
  if (rest.length > 0) yield rest
}
