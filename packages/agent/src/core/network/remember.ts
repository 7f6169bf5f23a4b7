/** Works it out anew only where one of its inputs is another (`===`) than the last time: views share what did not change. */
export function remember<Inputs extends readonly unknown[], Result>(
  compute: (...inputs: Inputs) => Result,
): (...inputs: Inputs) => Result {
  let last: { readonly inputs: Inputs; readonly result: Result } | undefined
  return (...inputs) => {
    if (last === undefined || inputs.some((input, at) => input !== last?.inputs[at])) {
      last = { inputs, result: compute(...inputs) }
    }
    return last.result
  }
}

/** `after`, with the values of `before` where they say the same, and `before` itself where all do: so that `===` tells what changed. */
export function keepSame<K, V>(
  before: ReadonlyMap<K, V>,
  after: ReadonlyMap<K, V>,
  isSame: (a: V, b: V) => boolean,
): ReadonlyMap<K, V> {
  let isAllTheSame = before.size === after.size
  const kept = new Map<K, V>()
  for (const [key, value] of after) {
    const old = before.get(key)
    const same = old !== undefined && (old === value || isSame(old, value))
    kept.set(key, same ? old : value)
    isAllTheSame &&= same
  }
  return isAllTheSame ? before : kept
}

export function sameMap<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  if (a.size !== b.size) return false
  for (const [key, value] of b) if (a.get(key) !== value || !a.has(key)) return false
  return true
}

export function sameSet<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  return a.size === b.size && a.isSubsetOf(b)
}

/** Of values without maps or sets. */
export function sameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
