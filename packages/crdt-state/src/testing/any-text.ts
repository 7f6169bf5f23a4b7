import * as fc from 'fast-check'

const codePoints = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 0x20, max: 0x7e }) },
  // All but halves of pairs, which are no text: UTF-8 has none.
  fc.integer({ min: 0, max: 0xd7ff }),
  fc.integer({ min: 0xe000, max: 0x10ffff }),
)
const unit = codePoints.map(
  (codePoint) => String.fromCodePoint(codePoint),
  (letter) => {
    const codePoint = typeof letter === 'string' ? letter.codePointAt(0) : undefined
    if (codePoint === undefined || String.fromCodePoint(codePoint) !== letter) throw new Error('no letter')
    return codePoint
  },
)

/** Any text there can be. As fast-check's `unit: 'binary'`, which takes a second to make in every test file. */
export function anyText(maxLength = 10): fc.Arbitrary<string> {
  return fc.string({ unit, maxLength })
}
