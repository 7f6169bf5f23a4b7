import type { WitnessWord } from '../core/membership/island.ts'
import type { Clock } from './clock.ts'
import type { Witness } from './witness.ts'

/** The Witness port in memory. A silent one takes all of its time; `word` is asked when that has passed. */
export function memoryWitness(clock: Clock, word: () => WitnessWord = () => 'answered'): Witness {
  return {
    start: () => undefined,
    stop: () => undefined,
    ask: (timeoutMs) =>
      new Promise((resolve) => {
        clock.after(word() === 'silent' ? timeoutMs : 1, () => resolve(word()))
      }),
  }
}
