import type { BootMemory } from './boot-memory.ts'

export interface MemoryBootMemory extends BootMemory {
  /** The power fails. */
  powerOff(): void
  /** From now on nothing can be written, or again. */
  fill(isFull: boolean): void
}

/** The twin. A process that ends leaves it as it is. */
export function memoryBootMemory(): MemoryBootMemory {
  let kept: string | undefined
  let isFull = false
  const forget = (): void => {
    kept = undefined
  }
  return {
    read: () => kept,
    write(text) {
      if (isFull) return Promise.reject(new Error('no space left in memory'))
      kept = text
      return Promise.resolve()
    },
    forget,
    powerOff: forget,
    fill(next) {
      isFull = next
    },
  }
}
