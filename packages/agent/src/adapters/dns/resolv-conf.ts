import { readFileSync, statSync } from 'node:fs'
import { isIP } from 'node:net'

/** More are not asked by the C library either (resolv.conf(5), MAXNS). */
const nameserversMax = 3

/** How long what was read is taken for true without a look at the file. */
const lookAgainMs = 1_000

/** The host's own name servers, read again when the file changes. */
export class ResolvConf {
  readonly #path: string
  #nameservers: readonly string[] = []
  #lookedAtMs = -Infinity
  #version = ''

  constructor(path: string) {
    this.#path = path
  }

  nameservers(): readonly string[] {
    const nowMs = performance.now()
    if (nowMs - this.#lookedAtMs < lookAgainMs) return this.#nameservers
    this.#lookedAtMs = nowMs
    try {
      const { mtimeMs, ino, size } = statSync(this.#path)
      const version = `${mtimeMs} ${ino} ${size}`
      if (version !== this.#version) this.#nameservers = readNameservers(readFileSync(this.#path, 'utf8'))
      this.#version = version
    } catch {
      // It is being replaced: what was read last is still the best guess.
    }
    return this.#nameservers
  }
}

export function readNameservers(text: string): readonly string[] {
  return text
    .split('\n')
    .flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? [])
    .filter((address) => isIP(address) !== 0)
    .slice(0, nameserversMax)
}
