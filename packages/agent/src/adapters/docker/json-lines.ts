import { StringDecoder } from 'node:string_decoder'

/** The engine's own event and progress lines are a few KB; a longer one is not JSON lines. */
const maxLineLength = 1024 * 1024

/** JSON values of a stream in which each stands on a line of its own (Docker's events and progress). */
export async function* jsonLines(source: AsyncIterable<Uint8Array | string>): AsyncGenerator {
  const decoder = new StringDecoder('utf8')
  let text = ''
  for await (const chunk of source) {
    text += typeof chunk === 'string' ? chunk : decoder.write(Buffer.from(chunk))
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    if (text.length > maxLineLength) throw new Error('a line of the engine is too long')
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line)
  }
  if (text.trim() !== '') yield JSON.parse(text)
}
