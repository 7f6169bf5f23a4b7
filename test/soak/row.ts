/** One line of the table that `make soak` ends with. */
export interface Row {
  readonly what: string
  /** How long each time took until all was well again; empty where there is nothing to time. */
  readonly tookMs: readonly number[]
  readonly times: number
  readonly boundMs?: number
  /** What went wrong, each with where to look. */
  readonly wrong: readonly string[]
}

export function isWell({ wrong, tookMs, boundMs }: Row): boolean {
  return wrong.length === 0 && (boundMs === undefined || tookMs.every((ms) => ms <= boundMs))
}

export function table(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.what,
    String(row.times),
    seconds(percentile(row.tookMs, 0.5)),
    seconds(percentile(row.tookMs, 1)),
    seconds(row.boundMs),
    isWell(row) ? 'well' : 'FAILED',
  ])
  const lines = [['what', 'times', 'p50 s', 'worst s', 'bound s', ''], ...cells]
  const widths =
    lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? []
  const text = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  const wrong = rows.flatMap((row) => row.wrong.map((each) => `${row.what}: ${each}`))
  return [...text, ...wrong].join('\n')
}

function percentile(values: readonly number[], share: number): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? '' : (ms / 1_000).toFixed(1)
}
