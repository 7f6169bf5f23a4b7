/**
 * One text for one value: keys sorted by code unit, no white space, `undefined` members dropped. What is hashed,
 * signed or compared between nodes goes through here, so that the order in which a client wrote its JSON is nothing.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(sorted(value)) ?? 'null'
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => (item === undefined ? null : sorted(item)))
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value as Record<string, unknown>)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([key, member]) => [key, sorted(member)] as const)
  // Object.fromEntries defines members instead of assigning them: a key named `__proto__` stays a key. Integer-like
  // keys are put first by every engine alike (ECMA-262 OrdinaryOwnPropertyKeys), so the text is still one.
  return Object.fromEntries(entries)
}
