/**
 * The thread that answers datagrams while the agent's main loop is busy, and sends this node's own. It has nothing but
 * the keys of pairs, a socket, and cells of memory in which the main loop says that it turns.
 */
import { createSocket } from 'node:dgram'
import type { RemoteInfo, Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import type { Door, FromThread, ThreadSetup, ToThread } from '../messages.ts'
import { macKey, readPacket } from '../packet.ts'
import { SharedCells } from '../shared-cells.ts'
import { Allowance } from './allowance.ts'
import { Answering } from './answering.ts'
import { Asking } from './asking.ts'
import { KnownMembers } from './known-members.ts'

const neverNotified = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))

class DatagramThread {
  readonly #setup: ThreadSetup
  readonly #port: MessagePort
  readonly #cells: SharedCells
  readonly #members: KnownMembers
  readonly #answering: Answering
  readonly #asking: Asking
  readonly #reading: Allowance
  #socket: Socket | undefined

  constructor(setup: ThreadSetup, port: MessagePort) {
    this.#setup = setup
    this.#port = port
    this.#cells = new SharedCells(setup.shared)
    this.#members = new KnownMembers(setup.settings.datagramAnswersPerMember)
    const options = { ...setup, members: this.#members, cells: this.#cells }
    this.#answering = new Answering({ ...options, wanted: (node) => this.#tell({ kind: 'wanted', node }) })
    this.#asking = new Asking(options)
    this.#reading = new Allowance(setup.settings.datagramsReadMax)
  }

  start(): void {
    this.#port.on('message', (message: ToThread) => this.#told(message))
    this.#open()
  }

  #tell(message: FromThread): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- windows have origins, threads none
    this.#port.postMessage(message)
  }
  #told(message: ToThread): void {
    switch (message.kind) {
      case 'members':
        this.#members.replace(message.members)
        return
      case 'key': {
        const member = this.#members.get(message.node)
        if (member !== undefined) member.key = macKey(message.key)
        return
      }
      case 'ask':
        this.#ask(message)
    }
  }

  #open(): void {
    const { door, settings } = this.#setup
    const isV6 = isIPv6(door.host)
    // As libp2p's TCP listener: an address of one kind is asked and answered by that kind alone.
    const socket = createSocket({ type: isV6 ? 'udp6' : 'udp4', ipv6Only: isV6 })
    const failed = (error: Error): void => {
      socket.removeAllListeners('error').on('error', () => undefined)
      this.#socket = undefined
      socket.close()
      this.#tell({ kind: 'unbound', why: error.message })
      setTimeout(() => this.#open(), settings.datagramBindAgainMs)
    }
    socket.on('error', failed)
    socket.on('message', (bytes, sender) => this.#heard(bytes, sender))
    socket.bind({ address: door.host, port: door.port, exclusive: true }, () => {
      this.#socket = socket
      this.#tell({ kind: 'bound' })
    })
  }

  #heard(bytes: Buffer, sender: RemoteInfo): void {
    const nowMs = performance.now()
    if (!this.#reading.take(nowMs)) {
      this.#cells.count('rested')
      // While it sleeps the kernel drops what its queue does not hold, which costs next to nothing.
      Atomics.wait(neverNotified, 0, 0, this.#setup.settings.datagramRestMs)
      return
    }
    const packet = readPacket(bytes)
    if (packet === undefined) {
      this.#cells.count('unknown')
      return
    }
    if (packet.kind === 'answer') {
      const answered = this.#asking.hear(bytes, packet, nowMs)
      if (answered !== undefined) this.#tell({ kind: 'answered', ...answered })
      return
    }
    const answer = this.#answering.answer(bytes, packet, nowMs)
    if (answer === undefined) return
    this.#send(answer, { host: sender.address, port: sender.port }, (sent) => {
      if (!sent) this.#cells.count('unanswered')
    })
  }

  #ask({ id, node, doors, timeoutMs }: Extract<ToThread, { kind: 'ask' }>): void {
    const unanswered = (): void => {
      if (this.#asking.end(id)) this.#tell({ kind: 'unanswered', id })
    }
    const datagrams = this.#asking.ask(id, node, doors, performance.now())
    if (datagrams.length === 0) {
      this.#tell({ kind: 'unanswered', id })
      return
    }
    let failed = 0
    for (const { door, bytes } of datagrams) {
      this.#send(bytes, door, (sent) => {
        // No way there, or a firewall of our own: then there is nothing to wait for.
        if (!sent && (failed += 1) === datagrams.length) unanswered()
      })
    }
    setTimeout(unanswered, timeoutMs)
  }

  /** Never throws: an address that cannot be sent to is as good as one that does not answer. */
  #send(bytes: Buffer, { host, port }: Door, done: (sent: boolean) => void): void {
    const socket = this.#socket
    // Beyond this the kernel takes no more now, and what waits would only be late.
    if (socket === undefined || socket.getSendQueueSize() > this.#setup.settings.datagramSendQueueMaxBytes) {
      done(false)
      return
    }
    try {
      socket.send(bytes, port, host, (error) => done(error === null))
    } catch {
      done(false)
    }
  }
}

if (parentPort !== null) new DatagramThread(workerData as ThreadSetup, parentPort).start()
