import { percentile } from '../percentile.ts'

/** One line of the table that `make soak` ends with. */
export interface Row {
  readonly what: string
  /** How long each time took until all was well again; empty where there is nothing to time. */
  readonly tookMs: readonly number[]
  readonly times: number
  readonly boundMs?: number
  readonly medianBoundMs?: number
  /** The host that each of `tookMs` was about: no host is special, so each has its own median in the table. */
  readonly hosts?: readonly number[]
  readonly note?: string
  /** What went wrong, each with where to look. */
  readonly wrong: readonly string[]
}

export function isWell({ wrong, tookMs, boundMs, medianBoundMs }: Row): boolean {
  const median = percentile(tookMs, 0.5)
  const isSlow = median !== undefined && medianBoundMs !== undefined && median > medianBoundMs
  return wrong.length === 0 && !isSlow && (boundMs === undefined || tookMs.every((ms) => ms <= boundMs))
}

export function table(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.what,
    String(row.times),
    seconds(percentile(row.tookMs, 0.5)),
    seconds(percentile(row.tookMs, 1)),
    [row.medianBoundMs, row.boundMs]
      .filter((ms) => ms !== undefined)
      .map(seconds)
      .join(', '),
    isWell(row) ? 'well' : 'FAILED',
    [medians(row), row.note].filter((text) => text !== undefined).join('; '),
  ])
  const lines = [['what', 'times', 'p50 s', 'worst s', 'bound s', '', ''], ...cells]
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

/** Of each host, in the hosts' order. */
function medians({ hosts, tookMs }: Row): string | undefined {
  if (hosts === undefined) return undefined
  const of = [...new Set(hosts)].toSorted((a, b) => a - b)
  const each = of.map((host) =>
    seconds(
      percentile(
        tookMs.filter((_, index) => hosts[index] === host),
        0.5,
      ),
    ),
  )
  return `hosts ${of.join(' ')}: ${each.join(' ')}`
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? '' : (ms / 1_000).toFixed(1)
}
