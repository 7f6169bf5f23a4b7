import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { LoadOptions, Report } from './load.ts'

/** Load by a process of its own, so that what a test does meanwhile makes no request late. */
export interface RunningLoad {
  /** When it is over by itself. */
  readonly report: Promise<Report>
  /** Now, or as soon as it has made `atLeastRequests`. */
  stop(): Promise<Report>
}

/** In the network namespace of that path, or in this one. Resolves when the load has begun. */
export async function beginLoad(
  namespacePath: string | undefined,
  options: LoadOptions,
): Promise<RunningLoad> {
  const program = [process.execPath, join(import.meta.dirname, 'load.ts'), JSON.stringify(options)]
  // nsenter becomes the program, so a signal to the child is one to it.
  const [command = '', ...args] =
    namespacePath === undefined ? program : ['nsenter', `--net=${namespacePath}`, ...program]
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let complaint = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => (output += part))
  child.stderr.setEncoding('utf8').on('data', (part: string) => (complaint += part))
  const report = (async () => {
    const [code] = (await once(child, 'close')) as [number | null]
    if (code !== 0) throw new Error(`The load ended with ${code ?? 'a signal'}: ${complaint}`)
    return JSON.parse(output.slice(output.indexOf('\n') + 1)) as Report
  })()
  // Whoever asks for it gets the error too; nobody else has to.
  report.catch(() => {})
  await Promise.race([once(child.stdout, 'data'), report])
  return {
    report,
    stop: () => {
      child.kill('SIGTERM')
      return report
    },
  }
}
