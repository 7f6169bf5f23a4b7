/** Values as people write them in Compose files. Each function throws a `ComposeError` that names the field. */
export class ComposeError extends Error {
  readonly code = 'ERR_COMPOSE'
  /** sysexits EX_DATAERR. */
  readonly exitCode = 65
  override name = 'ComposeError'
}

const nanoseconds = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 } as const

/** Go's duration text (`1m30s`, `1.5s`, `500ms`) in nanoseconds. */
export function durationNs(text: string, field: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/gy)]
  if (text === '0') return 0
  if (parts.length === 0 || parts.map((part) => part[0]).join('') !== text) {
    throw new ComposeError(`${field}: "${text}" is no duration: write it like 10s, 1m30s or 500ms`)
  }
  return Math.round(
    parts.reduce(
      (sum, [, amount, unit]) => sum + Number(amount) * nanoseconds[unit as keyof typeof nanoseconds],
      0,
    ),
  )
}

const byteUnits = { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4, p: 1024 ** 5 } as const

/** `512M`, `1.5gb`, `1024` in bytes; units are powers of 1024 as in Docker (go-units RAMInBytes). */
export function bytes(value: string | number, field: string): number {
  const match = /^(\d+(?:\.\d+)?) ?(?:([kmgtp])i?b?|b)?$/i.exec(String(value))
  if (match === null) throw new ComposeError(`${field}: "${value}" is no size: write it like 64M or 1.5G`)
  const unit = (match[2]?.toLowerCase() ?? 'b') as keyof typeof byteUnits
  return Math.floor(Number(match[1]) * byteUnits[unit])
}

/** `0.5` processors in billionths. */
export function nanoCpus(value: string | number, field: string): number {
  const cpus = Number(value)
  if (!Number.isFinite(cpus) || cpus < 0)
    throw new ComposeError(`${field}: "${value}" is no number of processors`)
  return Math.round(cpus * 1e9)
}

/** A mapping, or a list of `KEY=VALUE`: both are allowed in many places. `undefined` = no value given. */
export function mappingOrList(
  value: Readonly<Record<string, string | number | boolean | null>> | readonly string[] | undefined,
  separator = '=',
): Map<string, string | undefined> {
  const result = new Map<string, string | undefined>()
  if (value === undefined) return result
  if (Array.isArray(value)) {
    for (const each of value as readonly string[]) {
      const at = each.indexOf(separator)
      if (at < 0) result.set(each, undefined)
      else result.set(each.slice(0, at), each.slice(at + separator.length))
    }
    return result
  }
  for (const [key, each] of Object.entries(value)) result.set(key, each === null ? undefined : String(each))
  return result
}

/** Labels and the like, where a missing value is the empty text. */
export function labels(
  value: Readonly<Record<string, string | number | boolean | null>> | readonly string[] | undefined,
): Record<string, string> {
  return Object.fromEntries([...mappingOrList(value)].map(([key, each]) => [key, each ?? '']))
}

/** Splits a command line as a shell would, without expanding anything. */
export function shellWords(text: string, field: string): string[] {
  const words: string[] = []
  let word: string | undefined
  let quote: '"' | "'" | undefined
  for (let index = 0; index < text.length; index += 1) {
    const char = text[index] as string
    if (char === '\\' && quote !== "'") {
      index += 1
      word = (word ?? '') + (text[index] ?? '')
    } else if (quote !== undefined) {
      if (char === quote) quote = undefined
      else word = (word ?? '') + char
    } else if (char === '"' || char === "'") {
      quote = char
      word ??= ''
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else {
      word = (word ?? '') + char
    }
  }
  if (quote !== undefined) throw new ComposeError(`${field}: the quote ${quote} is not closed in: ${text}`)
  if (word !== undefined) words.push(word)
  return words
}
