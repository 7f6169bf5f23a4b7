import { readdirSync, readFileSync } from 'node:fs'

/** Programs that work in this directory or one below it, as their command lines say. */
export function processesBelow(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(`\0--directory\0${directory}`)
      } catch {
        return false
      }
    })
    .map(Number)
    .filter(isAlive)
}

export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
