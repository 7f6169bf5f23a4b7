import type { Socket } from 'node:net'

/** Calls back with each line; a line that is longer than `maxBytes` ends the connection. */
export function onLines(socket: Socket, maxBytes: number, callback: (line: string) => void): void {
  let rest = ''
  socket.setEncoding('utf8')
  socket.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) callback(line)
    if (rest.length > maxBytes) socket.destroy()
  })
}
