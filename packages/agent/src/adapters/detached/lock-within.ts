import { setTimeout as delay } from 'node:timers/promises'
import { lockDirectory } from '../../directory-lock.ts'

const againMs = 10

/** For one that takes the place of another, which is just letting go of it. */
export async function lockWithin(directory: string, withinMs: number): Promise<() => void> {
  const atMs = performance.now() + withinMs
  for (;;) {
    try {
      return lockDirectory(directory)
    } catch (error) {
      if (performance.now() >= atMs) throw error
      await delay(againMs)
    }
  }
}
