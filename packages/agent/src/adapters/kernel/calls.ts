import { ask, run } from './program.ts'

/** Calls of one `apply`, `peers` or `clear`: they share its signal and time limit. */
export class KernelCalls {
  private readonly signal: AbortSignal
  private readonly timeoutMs: number

  constructor(signal: AbortSignal, timeoutMs: number) {
    this.signal = signal
    this.timeoutMs = timeoutMs
  }

  run(program: string, args: readonly string[], to: string, input = ''): Promise<string> {
    return run({ program, args, to, input, signal: this.signal, timeoutMs: this.timeoutMs })
  }

  /** Many changes by one process. `ip` stops at the first that fails. */
  async batch(program: 'ip' | 'bridge', lines: readonly string[], to: string): Promise<void> {
    if (lines.length === 0) return
    await this.run(program, ['-batch', '-'], to, `${lines.join('\n')}\n`)
  }

  list(
    program: 'ip' | 'bridge',
    args: readonly string[],
    to: string,
  ): Promise<readonly Record<string, unknown>[]> {
    return ask({
      program,
      args: ['-json', ...args],
      to,
      signal: this.signal,
      timeoutMs: this.timeoutMs,
    })
  }

  throwIfAborted(): void {
    this.signal.throwIfAborted()
  }
}
