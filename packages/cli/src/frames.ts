/** One frame of Docker's multiplexed log stream (Engine API, "Stream format" of ContainerAttach). */
export interface Frame {
  readonly channel: 'stdout' | 'stderr'
  readonly text: string
}

const headerBytes = 8
/** Docker splits lines at 16 KiB; anything far above that is not a frame. */
const maxFrameBytes = 1024 * 1024

/** Throws an `Error` when the bytes are not frames. */
export async function* readFrames(source: AsyncIterable<Uint8Array>): AsyncGenerator<Frame> {
  let buffer = Buffer.alloc(0)
  for await (const chunk of source) {
    buffer = Buffer.concat([buffer, chunk])
    while (buffer.length >= headerBytes) {
      const length = buffer.readUInt32BE(4)
      if (length > maxFrameBytes) throw new Error('the agent sent something that is no log stream')
      if (buffer.length < headerBytes + length) break
      const channel = buffer[0] === 2 ? 'stderr' : 'stdout'
      yield { channel, text: buffer.toString('utf8', headerBytes, headerBytes + length) }
      buffer = buffer.subarray(headerBytes + length)
    }
  }
}
