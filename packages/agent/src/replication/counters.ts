const names = [
  'gossipIn',
  'gossipOut',
  'gossipBytesIn',
  'gossipBytesOut',
  'requestsIn',
  'requestsOut',
  'requestBytesIn',
  'requestBytesOut',
  'requestsFailed',
  /** Payloads that could not be read. */
  'garbage',
  /** Of no member, or refused by a store. */
  'refused',
  /** Left out because a queue was full. */
  'dropped',
  /** Changes whose predecessors were missing. */
  'gaps',
  'specsApplied',
  'recordsApplied',
  'confirmed',
  'unconfirmed',
  'syncs',
  'syncsFailed',
] as const
export type CounterName = (typeof names)[number]

export interface Counters {
  count(name: CounterName, by?: number): void
  read(): Readonly<Record<CounterName, number>>
}

export function createCounters(): Counters {
  const values = Object.fromEntries(names.map((name) => [name, 0])) as Record<CounterName, number>
  return {
    count(name, by = 1) {
      values[name] += by
    },
    read: () => ({ ...values }),
  }
}
