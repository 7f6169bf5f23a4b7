import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ApiBed } from '../../packages/agent/src/api/testing/api-bed.ts'

const main = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url))

export interface Result {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** The `moot` command against a bed, as alice. */
export function runMoot({ socketPath }: ApiBed, ...words: readonly string[]): Promise<Result> {
  const env = { PATH: process.env['PATH'], USER: 'alice', MOOT_HOST: `unix://${socketPath}` }
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...words], { env, timeout: 25_000 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out, err }),
    )
  })
}
