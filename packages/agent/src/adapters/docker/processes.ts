import { existsSync } from 'node:fs'

/**
 * What the host's kernel knows of containers' processes while the engine says nothing. An agent that runs in a pid namespace of
 * its own sees none of them, and would take all for dead: it says nothing until it has seen one.
 */
export class ContainerProcesses {
  readonly #exists: (path: string) => boolean
  #seesThem = false

  constructor(exists: (path: string) => boolean = existsSync) {
    this.#exists = exists
  }

  /** @param running processes that the engine has just called running. */
  look(running: readonly number[]): void {
    const [any] = running
    if (any !== undefined) this.#seesThem = this.#exists(`/proc/${any}`)
  }

  hasEnded(pid: number): boolean {
    return this.#seesThem && !this.#exists(`/proc/${pid}`)
  }
}
