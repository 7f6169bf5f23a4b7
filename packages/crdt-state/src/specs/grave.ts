import { decodeDocument, encodeDocument } from '../document/live-document.ts'
import type { Grave } from './spec-index.ts'

/** The order of burial (6 bytes, big-endian), then the document as it was stored. */
const orderBytes = 6

export function encodeGrave({ document, order }: Grave): Uint8Array {
  const prefix = Buffer.alloc(orderBytes)
  prefix.writeUIntBE(order, 0, orderBytes)
  return Buffer.concat([prefix, encodeDocument(document)])
}

export function decodeGrave(stored: Uint8Array): Grave {
  const buffer = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength)
  return {
    document: decodeDocument(buffer.subarray(orderBytes)),
    order: buffer.readUIntBE(0, orderBytes),
  }
}
