import { createHash } from 'node:crypto'
import { join, resolve } from 'node:path'

/** In memory, for what outlives an agent and not the boot. By its data directory, since that tells the agents of one host apart. */
export function runDirectory(base: string, dataDirectory: string): string {
  return join(base, createHash('sha256').update(resolve(dataDirectory)).digest('hex').slice(0, 16))
}
