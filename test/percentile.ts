/** The nearest of the values of which this share (0 to 1) is at most as large; 1: the largest. Undefined where there is none. */
export function percentile(values: readonly number[], share: number): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * share) - 1)]
}
