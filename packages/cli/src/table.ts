import Table from 'cli-table3'

export interface Column<Row> {
  readonly title: string
  readonly value: (row: Row) => string
  /** Given up first when the terminal is too narrow for all columns. */
  readonly optional?: boolean
}

const gap = 2
const plain = {
  chars: {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  },
  style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
}

/**
 * A table without lines, as Docker prints it, that fits `width` columns: optional columns are given up first, then the
 * widest is cut with an ellipsis. Without a width (not a terminal) nothing is cut.
 */
export function formatTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  width: number | undefined = process.stdout.isTTY ? process.stdout.columns : undefined,
): string {
  let shown = [...columns]
  let widths = widthsOf(rows, shown)
  const total = (): number => widths.reduce((sum, each) => sum + each, 0) + gap * (shown.length - 1)
  const room = width ?? Number.POSITIVE_INFINITY
  while (total() > room && shown.some((column) => column.optional)) {
    const last = shown.findLastIndex((column) => column.optional)
    shown = shown.filter((_, index) => index !== last)
    widths = widthsOf(rows, shown)
  }
  if (total() > room) {
    const widest = widths.indexOf(Math.max(...widths))
    widths = widths.map((each, index) => (index === widest ? Math.max(8, each - (total() - room)) : each))
  }
  const table = new Table({ ...plain, head: shown.map((column) => column.title), colWidths: widths })
  for (const row of rows) table.push(shown.map((column) => column.value(row)))
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

function widthsOf<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): number[] {
  return columns.map((column) =>
    Math.max(column.title.length, 1, ...rows.map((row) => column.value(row).length)),
  )
}

/** "3 minutes ago", as Docker says it. */
export function ago(then: number | string, nowMs = Date.now()): string {
  const seconds = Math.max(0, Math.round((nowMs - new Date(then).getTime()) / 1000))
  if (seconds < 2) return 'just now'
  if (seconds < 60) return `${seconds} seconds ago`
  const minutes = Math.round(seconds / 60)
  if (minutes < 60) return minutes === 1 ? 'about a minute ago' : `${minutes} minutes ago`
  const hours = Math.round(minutes / 60)
  if (hours < 48) return hours === 1 ? 'about an hour ago' : `${hours} hours ago`
  return `${Math.round(hours / 24)} days ago`
}
