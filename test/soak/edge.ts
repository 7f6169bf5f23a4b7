import { spawnSync } from 'node:child_process'
import type { Row } from './row.ts'

/** examples/edge, as `edge.test.ts` tries it. */
export function edge(): Row {
  const { status } = spawnSync('vitest', ['run', '--project', 'soak', 'test/soak/edge.test.ts'], {
    stdio: 'inherit',
  })
  return {
    what: 'examples/edge: HTTPS by host name',
    times: 1,
    tookMs: [],
    wrong: status === 0 ? [] : ['see above'],
  }
}
