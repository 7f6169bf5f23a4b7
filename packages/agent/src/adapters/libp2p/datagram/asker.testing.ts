/**
 * A member in a process of its own, for tests that hold up their own: asks every 50 ms, says `ready` at the first
 * answer, asks `count` more and prints what came. Argument: JSON.
 */
import { createSocket } from 'node:dgram'
import { setTimeout } from 'node:timers/promises'
import { encodePacket, isProven, macKey, readPacket } from './packet.ts'

export interface AskerSetup {
  readonly port: number
  readonly tag: number
  /** Hexadecimal. */
  readonly key: string
  readonly self: string
  readonly node: string
  readonly count: number
}
export interface AskerReport {
  readonly asked: number
  /** The age in each answer, in units. */
  readonly ages: readonly number[]
}

const { port, tag, key, self, node, count } = JSON.parse(process.argv[2] ?? '') as AskerSetup
const pair = macKey(Buffer.from(key, 'hex'))
const socket = createSocket('udp4')
const ages: number[] = []
socket.on('message', (bytes) => {
  if (isProven(bytes, { key: pair, from: node, to: self })) ages.push(readPacket(bytes)?.age ?? Number.NaN)
})
let nonce = 1n
function ask(): void {
  const packet = { kind: 'question' as const, tag, nonce: (nonce += 1n), age: 0 }
  socket.send(encodePacket(packet, { key: pair, from: self, to: node }), port, '127.0.0.1')
}
for (let tries = 0; tries < 200 && ages.length === 0; tries += 1) {
  ask()
  await setTimeout(50)
}
// Late answers of these tries.
await setTimeout(200)
ages.length = 0
process.stdout.write('ready\n')
for (let asked = 0; asked < count; asked += 1) {
  ask()
  await setTimeout(50)
}
await setTimeout(200)
process.stdout.write(`${JSON.stringify({ asked: count, ages } satisfies AskerReport)}\n`)
socket.close()
