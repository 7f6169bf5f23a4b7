/**
 * A small text that outlives the process and not the host's boot: whoever reads it knows that the host has been up, with its
 * clock, since it was written.
 */
export interface BootMemory {
  /** Undefined: nothing was written since the boot, or it cannot be read as it was written. */
  read(): string | undefined
  /** Whole when it returns, or as it was before: throws if the system refuses. */
  write(text: string): Promise<void>
  forget(): void
}
