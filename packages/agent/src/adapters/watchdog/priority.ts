import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { constants, setPriority } from 'node:os'

/**
 * Real time, so that a host full of busy containers does not keep the watchdog from killing; where that is not allowed, the
 * highest of the others. And the last to be killed for want of memory. Node cannot lock its memory.
 * @returns what could be done, in words.
 */
export function raisePriority(): string {
  const done: string[] = []
  try {
    execFileSync('chrt', ['--all-tasks', '--rr', '--pid', '1', String(process.pid)], {
      stdio: 'pipe',
      timeout: 1_000,
    })
    done.push('SCHED_RR 1')
  } catch {
    try {
      setPriority(constants.priority.PRIORITY_HIGHEST)
      done.push('nice -20')
    } catch {
      done.push('no priority')
    }
  }
  try {
    writeFileSync('/proc/self/oom_score_adj', '-1000')
    done.push('oom_score_adj -1000')
  } catch {
    done.push('oom_score_adj as it was')
  }
  return done.join(', ')
}
