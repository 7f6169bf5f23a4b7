import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { decode, encode, type Packet } from 'dns-packet'
import { framed, Messages } from '../../packages/agent/src/adapters/messages.ts'

/** Another name server, of the world. */
export interface Upstream {
  readonly asked: { readonly transport: 'udp' | 'tcp'; readonly port: number; readonly id: number }[]
  close(): Promise<void>
}

export interface Talk {
  readonly question: Buffer
  readonly transport: 'udp' | 'tcp'
  readonly say: (bytes: Buffer) => void
}

/** @param talk what it does with each question. */
export async function upstream(
  address: string,
  port: number,
  talk: (talk: Talk) => void = ({ question, say }) => say(answerTo(question)),
): Promise<Upstream> {
  const asked: Upstream['asked'] = []
  const udp = createSocket('udp4')
  udp.on('message', (question, from) => {
    asked.push({ transport: 'udp', port: from.port, id: question.readUInt16BE(0) })
    talk({ question, transport: 'udp', say: (bytes) => udp.send(bytes, from.port, from.address) })
  })
  const tcp = createServer((socket) => {
    socket.on('error', () => undefined)
    const messages = new Messages(65_535, (question) => {
      asked.push({ transport: 'tcp', port: socket.remotePort ?? 0, id: question.readUInt16BE(0) })
      talk({ question, transport: 'tcp', say: (bytes) => socket.write(framed(bytes)) })
    })
    socket.on('data', (chunk: Buffer) => messages.push(chunk))
  })
  await new Promise<void>((resolve) => {
    udp.bind(port, address, resolve)
  })
  await new Promise<void>((resolve) => {
    tcp.listen(port, address, resolve)
  })
  return {
    asked,
    async close() {
      udp.close()
      await new Promise((resolve) => {
        tcp.close(resolve)
      })
    },
  }
}

/** With one address, or as `more` says. */
export function answerTo(question: Buffer, more: Packet = {}): Buffer {
  const { id, questions } = decode(question)
  const name = questions?.[0]?.name ?? ''
  return encode({
    type: 'response',
    ...(id === undefined ? {} : { id }),
    flags: 0x0180,
    ...(questions === undefined ? {} : { questions }),
    answers: [{ type: 'A', name, ttl: 300, data: '192.0.2.80' }],
    ...more,
  })
}
