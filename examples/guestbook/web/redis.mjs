// As much of Redis's protocol (RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec/) as a guestbook needs.
import { connect } from 'node:net'

const answerTimeoutMs = 1_000
const waitingMax = 1_000

/** One connection, made when it is needed, and made anew (the name looked up anew) after it broke. */
export class Redis {
  #host
  #port
  #socket
  /** Asked and not answered yet, oldest first: Redis answers in order. */
  #waiting = []
  #received = Buffer.alloc(0)

  constructor(host, port) {
    this.#host = host
    this.#port = port
  }

  /** `await redis.ask('LRANGE', 'entries', 0, 9)` gives an array of strings; what Redis refuses is thrown. */
  ask(...words) {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length >= waitingMax) {
        reject(new Error(`${waitingMax} questions wait for Redis already`))
        return
      }
      const socket = this.#open()
      const asked = { resolve, reject, timer: undefined }
      const giveUp = () => {
        if (this.#waiting.includes(asked)) socket.destroy(new Error(`no answer in ${answerTimeoutMs} ms`))
      }
      // If this process stood still the answer may be here, and is read first.
      asked.timer = setTimeout(() => setImmediate(giveUp), answerTimeoutMs)
      this.#waiting.push(asked)
      const parts = words.map(String).map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
      socket.write(`*${words.length}\r\n${parts.join('')}`)
    })
  }

  #open() {
    if (this.#socket !== undefined) return this.#socket
    const socket = connect({ host: this.#host, port: this.#port, noDelay: true })
    let why = 'it closed the connection'
    socket.on('data', (part) => {
      try {
        this.#receive(part)
      } catch (error) {
        socket.destroy(error)
      }
    })
    socket.on('error', (error) => (why = error.message))
    // An error is always followed by this, and an end by Redis too.
    socket.on('close', () => this.#broke(`Redis at ${this.#host}:${this.#port}: ${why}`))
    this.#received = Buffer.alloc(0)
    this.#socket = socket
    return socket
  }

  #broke(message) {
    this.#socket = undefined
    for (const { reject, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer)
      reject(new Error(message))
    }
  }

  #receive(part) {
    this.#received = Buffer.concat([this.#received, part])
    for (let reply = read(this.#received, 0); reply !== undefined; reply = read(this.#received, 0)) {
      this.#received = this.#received.subarray(reply.next)
      const { resolve, reject, timer } = this.#waiting.shift()
      clearTimeout(timer)
      if (reply.value instanceof Error) reject(reply.value)
      else resolve(reply.value)
    }
  }

  close() {
    this.#socket?.destroy()
  }
}

/** The reply that begins at `start` and where the next begins, or undefined while it is not all there. */
function read(bytes, start) {
  const lineEnd = bytes.indexOf('\r\n', start)
  if (lineEnd === -1) return undefined
  const line = bytes.toString('utf8', start + 1, lineEnd)
  const next = lineEnd + 2
  switch (String.fromCharCode(bytes[start])) {
    case '+':
      return { value: line, next }
    case '-':
      return { value: new Error(`Redis: ${line}`), next }
    case ':':
      return { value: Number(line), next }
    case '$': {
      const length = Number(line)
      if (length === -1) return { value: null, next }
      if (bytes.length < next + length + 2) return undefined
      return { value: bytes.toString('utf8', next, next + length), next: next + length + 2 }
    }
    case '*': {
      const values = []
      let at = next
      while (values.length < Number(line)) {
        const item = read(bytes, at)
        if (item === undefined) return undefined
        values.push(item.value)
        at = item.next
      }
      return { value: values, next: at }
    }
    default:
      throw new Error(`This is not Redis: its answer begins with ${JSON.stringify(line.slice(0, 20))}`)
  }
}
