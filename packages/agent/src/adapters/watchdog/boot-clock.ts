import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'

/**
 * CLOCK_BOOTTIME in ms: it counts a suspend, and nobody sets it. Node reads CLOCK_MONOTONIC everywhere else
 * (`process.hrtime`, `performance.now`, timers), which stands still while a host sleeps, and `Date.now` can be set.
 * `os.uptime` reads /proc/uptime (8 µs): whole hundredths, cut off, so it is up to 10 ms early.
 */
export function bootMs(): number {
  return Math.round(uptime() * 1_000)
}

/** Another one after each start of the kernel. */
export function systemBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}
