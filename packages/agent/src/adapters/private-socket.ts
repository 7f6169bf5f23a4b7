import { chmodSync, rmSync } from 'node:fs'
import type { Server } from 'node:net'

/** A unix socket at this path, for root alone; one that a dead process left there goes. */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  rmSync(path, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  chmodSync(path, 0o600)
}
