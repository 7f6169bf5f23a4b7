import type { Socket } from 'node:net'
import { Transform } from 'node:stream'
import type { End } from './end.ts'

/**
 * A half-closed connection over a unix socket on which an end and a break look the same: four bytes of length before each chunk, and a chunk of
 * no bytes for the end. Without that, what was cut off would pass for whole.
 */
export function writeChunks(): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (chunk.length > 0) {
        this.push(head(chunk.length))
        this.push(chunk)
      }
      done()
    },
    flush(done) {
      this.push(head(0))
      done()
    },
  })
}

export function readChunks(): Transform {
  let rest: Buffer = Buffer.alloc(0)
  /** Of the chunk that is being read; undefined: its head comes next. */
  let left: number | undefined
  let hasEnded = false
  return new Transform({
    transform(piece: Buffer, _encoding, done) {
      rest = rest.length === 0 ? piece : Buffer.concat([rest, piece])
      while (!hasEnded) {
        if (left === undefined) {
          if (rest.length < 4) break
          left = rest.readUInt32BE(0)
          rest = rest.subarray(4)
          hasEnded = left === 0
        } else {
          if (rest.length === 0) break
          const part = rest.subarray(0, left)
          rest = rest.subarray(part.length)
          left -= part.length
          this.push(part)
          if (left === 0) left = undefined
        }
      }
      done()
    },
    flush(done) {
      done(hasEnded ? null : new Error('it broke off'))
    },
  })
}

function head(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(length)
  return bytes
}

/** The other process at this unix socket, which speaks in chunks too. */
export function chunksOver(socket: Socket): End {
  const [readable, writable] = [readChunks(), writeChunks()]
  const reset = (): void => {
    socket.destroy()
    for (const each of [readable, writable]) each.destroy(new Error('it broke off'))
  }
  // Whoever reads and writes hears of it too; without a listener of its own it would end this process.
  for (const each of [socket, readable, writable]) each.on('error', reset)
  socket.on('close', () => {
    if (!readable.writableEnded) reset()
  })
  socket.pipe(readable)
  writable.pipe(socket)
  return { readable, writable, reset }
}
