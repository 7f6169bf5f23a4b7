import { describe, expect, it } from 'vitest'
import { parseHost } from './client.ts'
import { wordsAfter } from './commands/completion.ts'
import { durationMs } from './duration.ts'
import { readFrames } from './frames.ts'
import { createProgram } from './program.ts'
import { ago, formatTable } from './table.ts'

const rows = [{ id: 'abcdefghijkl', name: 'web', why: 'needs more memory than any node of this cluster has' }]
const columns = [
  { title: 'ID', value: (row: (typeof rows)[number]) => row.id, optional: true },
  { title: 'NAME', value: (row: (typeof rows)[number]) => row.name },
  { title: 'WHY', value: (row: (typeof rows)[number]) => row.why },
]

describe('tables', () => {
  it('cut nothing where there is no terminal', () => {
    expect(formatTable(rows, columns, undefined)).toContain(
      'needs more memory than any node of this cluster has',
    )
  })

  it('fit the terminal: optional columns go first, then the widest is cut', () => {
    const text = formatTable(rows, columns, 40)
    expect(text).not.toContain('abcdefghijkl')
    expect(text).toContain('…')
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(40)
  })
})

describe('words of people', () => {
  it.each([
    ['90s', 90_000],
    ['1h30m', 5_400_000],
    ['2d', 172_800_000],
  ])('%s is a duration', (text, expected) => expect(durationMs(text)).toBe(expected))

  it.each(['', '5', 'soon', '5s later'])('"%s" is no duration', (text) =>
    expect(() => durationMs(text)).toThrow(/no duration/),
  )

  it('a time is told relative to now', () => {
    expect(ago(0, 90_000)).toBe('2 minutes ago')
    expect(ago(0, 30_000)).toBe('30 seconds ago')
  })

  it.each([
    ['unix:///run/moot/moot.sock', { socketPath: '/run/moot/moot.sock' }],
    ['/tmp/a.sock', { socketPath: '/tmp/a.sock' }],
    ['tcp://127.0.0.1:2375', { host: '127.0.0.1', port: 2375 }],
  ])('%s is an address of an agent', (text, expected) => expect(parseHost(text)).toEqual(expected))

  it('what is no address is refused with the forms that are', () => {
    expect(() => parseHost('nowhere')).toThrow(/unix:\/\/\/path/)
  })
})

describe('completion', () => {
  it('gives the commands, and the options of a command', () => {
    expect(wordsAfter(createProgram(), [])).toEqual(expect.arrayContaining(['deploy', 'explain', 'node']))
    expect(wordsAfter(createProgram(), [])).not.toContain('__complete')
    expect(wordsAfter(createProgram(), ['service', 'logs'])).toEqual(
      expect.arrayContaining(['--follow', '--tail']),
    )
    expect(wordsAfter(createProgram(), ['net'])).toEqual(
      expect.arrayContaining(['ls', 'inspect', 'change-keys', '--json']),
    )
  })
})

describe("Docker's log frames", () => {
  const frame = (channel: number, text: string): Uint8Array => {
    const header = Buffer.alloc(8)
    header[0] = channel
    header.writeUInt32BE(Buffer.byteLength(text), 4)
    return Buffer.concat([header, Buffer.from(text)])
  }

  it('are read whole, however the bytes were cut', async () => {
    const bytes = Buffer.concat([frame(1, 'one\n'), frame(2, 'zwei ü\n')])
    async function* cut(): AsyncGenerator<Uint8Array> {
      for (const byte of bytes) yield Uint8Array.of(byte)
    }
    expect(await Array.fromAsync(readFrames(cut()))).toEqual([
      { channel: 'stdout', text: 'one\n' },
      { channel: 'stderr', text: 'zwei ü\n' },
    ])
  })

  it('bytes that are no frames are refused', async () => {
    async function* noise(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('HTTP/1.1 200 OK\r\n\r\n')
    }
    await expect(Array.fromAsync(readFrames(noise()))).rejects.toThrow(/no log stream/)
  })
})
