import { existsSync, readFileSync } from 'node:fs'

const headerBytes = 32
const frameHeaderBytes = 24

/**
 * SQLite ends the recovery of a log at the first frame whose checksum does not hold, and says nothing: a damaged byte
 * would silently unsay every commit after it. Here a log is damaged when committed frames of its own generation (by
 * their salts) stand behind such a frame. A transaction that a power failure tore apart may look the same; then one
 * comparison with a peer more is the price. Format: https://sqlite.org/fileformat.html#the_write_ahead_log
 */
export function isLogDamaged(path: string): boolean {
  if (!existsSync(path)) return false
  const log = readFileSync(path)
  if (log.length <= headerBytes) return false
  const sum = summing(log.readUInt32BE(0) === 0x377f0683)
  sum.add(log, 0, 24)
  if (!sum.is(log, 24)) return true
  const pageBytes = log.readUInt32BE(8)
  const frameBytes = frameHeaderBytes + pageBytes
  let holds = true
  for (let at = headerBytes; at + frameBytes <= log.length; at += frameBytes) {
    const isOurs = log.compare(log, 16, 24, at + 8, at + 16) === 0
    if (holds && isOurs) {
      sum.add(log, at, 8)
      sum.add(log, at + frameHeaderBytes, pageBytes)
      holds = sum.is(log, at + 16)
    } else holds = false
    const isCommit = log.readUInt32BE(at + 4) !== 0
    if (!holds && isOurs && isCommit) return true
  }
  return false
}

interface Sum {
  add(bytes: Buffer, from: number, length: number): void
  /** Does the sum so far stand in the file here? */
  is(bytes: Buffer, at: number): boolean
}

function summing(isBigEndian: boolean): Sum {
  let first = 0
  let second = 0
  return {
    add(bytes, from, length) {
      for (let at = from; at < from + length; at += 8) {
        const a = isBigEndian ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at)
        const b = isBigEndian ? bytes.readUInt32BE(at + 4) : bytes.readUInt32LE(at + 4)
        first = (first + a + second) >>> 0
        second = (second + b + first) >>> 0
      }
    },
    is: (bytes, at) => bytes.readUInt32BE(at) === first && bytes.readUInt32BE(at + 4) === second,
  }
}
