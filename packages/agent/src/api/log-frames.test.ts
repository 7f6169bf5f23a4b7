import { expect, test } from 'vitest'
import { decodeFrames, decodeLines, encodeFrame } from './log-frames.ts'

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

test.each([1, 3, 7, 1000])('frames are found whole in pieces of %i bytes', async (size) => {
  const frames = [
    { stream: 1 as const, payload: Buffer.from('one\n') },
    { stream: 2 as const, payload: Buffer.from('') },
    { stream: 1 as const, payload: Buffer.from('x'.repeat(300)) },
  ]
  const bytes = Buffer.concat(frames.map(encodeFrame))
  const found = await Array.fromAsync(decodeFrames(inPieces(bytes, size), 1024))
  expect(found.map(({ stream, payload }) => [stream, payload.toString()])).toEqual(
    frames.map(({ stream, payload }) => [stream, payload.toString()]),
  )
})

test('a frame that claims more than a log line holds ends the stream', async () => {
  const bytes = Buffer.from([1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])
  await expect(Array.fromAsync(decodeFrames(inPieces(bytes, 8), 1024))).rejects.toThrow(/no log stream/)
})

test.each([1, 4, 1000])('lines keep their ends, and a long one comes in pieces (%i)', async (size) => {
  const bytes = Buffer.from('a\nbb\r\nlonglonglong\nend')
  const lines = (await Array.fromAsync(decodeLines(inPieces(bytes, size), 8))).map(String)
  expect(lines.join('')).toBe(bytes.toString())
  expect(lines.slice(0, 2)).toEqual(['a\n', 'bb\r\n'])
  expect(lines.at(-1)).toBe('end')
})
