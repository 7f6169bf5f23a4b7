import { ageMax, ageUnitMs } from './packet.ts'

/** What the thread counts, each in a cell of its own, in this order. */
const counters = [
  /** Questions of members that were answered. */
  'answered',
  /** Answers beyond what one member, or all, may have in a second, or that could not be sent. */
  'unanswered',
  /** Times that the thread rested because more came than it reads in a second: the kernel drops what is too much. */
  'rested',
  /** No packet, or in the name of nobody whose key is here. */
  'unknown',
  /** In a member's name, and not made with its key for this node. */
  'unproven',
  /** Questions that came before, and answers to nothing that is being asked. */
  'repeated',
] as const
export type Counter = (typeof counters)[number]
export type Counts = Readonly<Record<Counter, number>>

const stampCell = 0
const firstCounter = 1

/** The clock of the whole process (`performance.now()` begins anew in each thread). 32 bits of it last for 17 years. */
function nowInUnits(): number {
  return Number(process.hrtime.bigint() / BigInt(ageUnitMs * 1_000_000)) | 0
}

/**
 * Memory that the main loop and the thread both see without a message, which a busy loop would neither send nor take:
 * when the loop gave its last sign of life, and what was counted.
 */
export class SharedCells {
  readonly buffer: SharedArrayBuffer
  readonly #cells: Int32Array

  constructor(
    buffer = new SharedArrayBuffer((firstCounter + counters.length) * Int32Array.BYTES_PER_ELEMENT),
  ) {
    this.buffer = buffer
    this.#cells = new Int32Array(buffer)
  }

  /** The main loop turns. (In tests: it did, so long ago.) */
  stamp(agoMs = 0): void {
    Atomics.store(this.#cells, stampCell, nowInUnits() - Math.floor(agoMs / ageUnitMs))
  }
  /** Since then, as a packet carries it. */
  age(): number {
    return Math.min(ageMax, Math.max(0, nowInUnits() - Atomics.load(this.#cells, stampCell)))
  }

  count(counter: Counter): void {
    Atomics.add(this.#cells, firstCounter + counters.indexOf(counter), 1)
  }
  counts(): Counts {
    const entries = counters.map((counter, index) => [
      counter,
      Atomics.load(this.#cells, firstCounter + index) >>> 0,
    ])
    return Object.fromEntries(entries) as Record<Counter, number>
  }
}
