// Tells whoever asks where the question seems to come from: proof that a client's address arrives. A JSON line for each
// TCP connection as soon as it is there, then one for each piece of what is sent; one for each UDP datagram.
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { hostname } from 'node:os'

const port = Number(process.env.PORT ?? 7000)

/** The line that is sent; also printed, so that it is in the container's log. */
function told(protocol, address, port, said) {
  const from = address.replace(/^::ffff:/, '')
  const line = `${JSON.stringify({ protocol, address: from, port, host: hostname(), said: said.trim() })}\n`
  process.stdout.write(line)
  return line
}

const server = createServer((socket) => {
  const { remoteAddress = '', remotePort = 0 } = socket
  socket.on('error', () => {
    // Whoever asked is gone.
  })
  socket.write(told('tcp', remoteAddress, remotePort, ''))
  socket.on('data', (part) => socket.write(told('tcp', remoteAddress, remotePort, part.toString())))
})
server.listen(port, '0.0.0.0')

const datagrams = createSocket('udp4')
datagrams.on('message', (message, from) =>
  datagrams.send(told('udp', from.address, from.port, message.toString()), from.port, from.address),
)
datagrams.on('error', (error) => process.stderr.write(`${error.message}\n`))
datagrams.bind(port)

for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => process.exit())
