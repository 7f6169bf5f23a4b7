import { fc } from '@fast-check/vitest'
import { Readable, type Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, expect, test } from 'vitest'
import { readChunks, writeChunks } from './chunks.ts'

const sizes = fc.integer({ min: 1, max: 50 })
const pieces = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 12 })

async function through(source: Readable, transform: Transform): Promise<Buffer> {
  const all: Buffer[] = []
  transform.on('data', (chunk: Buffer) => all.push(chunk))
  await pipeline(source, transform)
  return Buffer.concat(all)
}

/** As a socket may hand it over. */
function cut(bytes: Buffer, size: number): Readable {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size))
  return Readable.from(parts, { objectMode: false })
}

describe('chunks with their length', () => {
  const written = (all: readonly Uint8Array[]): Promise<Buffer> =>
    through(Readable.from(all.map((each) => Buffer.from(each))), writeChunks())

  test('are read as they were written, wherever they are cut', async () => {
    await fc.assert(
      fc.asyncProperty(pieces, sizes, async (all, size) => {
        const read = await through(cut(await written(all), size), readChunks())
        expect(read).toEqual(Buffer.concat(all))
      }),
    )
  })

  test('that break off before their end fail', async () => {
    await fc.assert(
      fc.asyncProperty(pieces, fc.nat(), sizes, async (all, at, size) => {
        const bytes = await written(all)
        const part = bytes.subarray(0, at % bytes.length)
        await expect(through(cut(part, size), readChunks())).rejects.toThrow('it broke off')
      }),
    )
  })
})
