const letters = 'abcdefghijklmnopqrstuvwxyz0123456789'

/** Six letters that tell a release from another of the same number: made on the other side of a partition. */
export function newDistinction(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(6))
  return Array.from(bytes, (byte) => letters[byte % letters.length]).join('')
}
