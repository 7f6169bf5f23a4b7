/** `0.5 CPUs`, `1 CPU`; billionths in. */
export function formatCpus(nanoCpus: number, unit: 'CPU' | '' = 'CPU'): string {
  const figure = String(Number((nanoCpus / 1e9).toFixed(9)))
  if (unit === '') return figure
  return figure === '1' ? '1 CPU' : `${figure} CPUs`
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** Sizes for people, each to one decimal; in bytes where two different ones would read the same. */
export function formatBytes(...sizes: readonly number[]): readonly string[] {
  const short = sizes.map(shortBytes)
  const alike = new Set(short).size < new Set(sizes).size
  return alike ? sizes.map((size) => `${size} B`) : short
}

function shortBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${Number(value.toFixed(1))} ${units[unit]}`
}
