import type { Socket } from 'node:net'

/** Four bytes of length, then as many of JSON: a table is megabytes, and to look for the end of a line would cost more than to read it. */
export function onFrames(socket: Socket, maxBytes: number, callback: (text: string) => void): void {
  let chunks: Buffer[] = []
  let bytes = 0
  let wanted = 4
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    bytes += chunk.length
    while (bytes >= wanted) {
      const all: Buffer = chunks.length === 1 ? (chunks[0] ?? chunk) : Buffer.concat(chunks)
      const end = 4 + all.readUInt32BE(0)
      if (end - 4 > maxBytes) {
        socket.destroy()
        return
      }
      wanted = end
      chunks = [all]
      if (bytes < end) return
      callback(all.toString('utf8', 4, end))
      chunks = [all.subarray(end)]
      bytes -= end
      wanted = 4
    }
  })
}

export function frame(value: object): Buffer {
  const text = JSON.stringify(value)
  const bytes = Buffer.byteLength(text)
  const framed = Buffer.allocUnsafe(4 + bytes)
  framed.writeUInt32BE(bytes)
  framed.write(text, 4)
  return framed
}
