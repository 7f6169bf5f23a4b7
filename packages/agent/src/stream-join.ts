import type { ByteStream } from './ports/mesh.ts'

/** Passes on what comes from either side to the other until both have ended. Rejects where one breaks; the other is broken then too. */
export async function joinStreams(one: ByteStream, other: ByteStream): Promise<void> {
  try {
    await Promise.all([passOn(one, other), passOn(other, one)])
  } catch (error) {
    const reason = error instanceof Error ? error : new Error(String(error))
    one.abort(reason)
    other.abort(reason)
    throw reason
  }
}

async function passOn(from: ByteStream, to: ByteStream): Promise<void> {
  for await (const chunk of from.source) await to.write(chunk)
  await to.closeWrite()
}
