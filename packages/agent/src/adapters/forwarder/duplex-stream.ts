import type { Readable, Writable } from 'node:stream'
import type { ByteStream } from '../../ports/mesh.ts'

/** Node's streams as the mesh has them: with half-close, and no faster than the other side takes it. */
export function duplexStream(
  readable: Readable,
  writable: Writable,
  destroy: (error: Error) => void,
): ByteStream {
  let failure: Error | undefined
  const fail = (error: Error): void => {
    failure ??= error
  }
  for (const each of new Set([readable, writable])) each.on('error', fail)
  return {
    // Its end is no end of what is written.
    source: readable.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>,
    async write(chunk) {
      if (failure !== undefined) throw failure
      if (!writable.write(chunk)) await drained(writable)
    },
    closeWrite: () =>
      new Promise((resolve, reject) => {
        if (failure !== undefined) return reject(failure)
        writable.end((error?: Error | null) => (error ? reject(error) : resolve()))
      }),
    abort: destroy,
  }
}

function drained(writable: Writable): Promise<void> {
  return new Promise((resolve, reject) => {
    const off = (): void => {
      writable.off('drain', drain)
      writable.off('close', closed)
    }
    const drain = (): void => {
      off()
      resolve()
    }
    const closed = (): void => {
      off()
      reject(writable.errored ?? new Error('it was closed'))
    }
    writable.on('drain', drain)
    writable.on('close', closed)
    if (writable.destroyed) closed()
  })
}
