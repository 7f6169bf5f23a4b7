import * as fc from 'fast-check'

/** What happens to bytes on their way or on a disk: a bit flips, the end is missing, something stands in between. */
type Damage =
  | { readonly kind: 'flip'; readonly at: number; readonly bit: number }
  | { readonly kind: 'cut'; readonly at: number }
  | { readonly kind: 'drop'; readonly at: number; readonly count: number }
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Uint8Array }

const at = fc.nat({ max: 2 ** 31 - 1 })
const short = fc.uint8Array({ minLength: 1, maxLength: 4 })
const damage: fc.Arbitrary<Damage> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('flip' as const), at, bit: fc.nat({ max: 7 }) }) },
  fc.record({ kind: fc.constant('cut' as const), at }),
  fc.record({ kind: fc.constant('drop' as const), at, count: fc.integer({ min: 1, max: 8 }) }),
  fc.record({ kind: fc.constant('insert' as const), at, bytes: short }),
)

/** Numbers that say nothing of the bytes, so that they shrink: applied to whatever is at hand. */
export const damages = fc.array(damage, { minLength: 1, maxLength: 3 })

export function damaged(sound: Uint8Array, by: readonly Damage[]): Uint8Array {
  let bytes = Buffer.from(sound)
  for (const one of by) bytes = damagedOnce(bytes, one)
  return Uint8Array.from(bytes)
}

function damagedOnce(bytes: Buffer<ArrayBuffer>, one: Damage): Buffer<ArrayBuffer> {
  const at = bytes.length === 0 ? 0 : one.at % bytes.length
  switch (one.kind) {
    case 'flip':
      if (bytes.length > 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << one.bit)
      return bytes
    case 'cut':
      return bytes.subarray(0, at)
    case 'drop':
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + one.count)])
    case 'insert':
      return Buffer.concat([bytes.subarray(0, at), one.bytes, bytes.subarray(at)])
  }
}
