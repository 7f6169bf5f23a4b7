import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { LineCounter, parseDocument } from 'yaml'
import type * as z from 'zod'
import { interpolate } from './interpolate.ts'
import { type StackFile, stackSchema } from './schema.ts'
import { ComposeError } from './values.ts'

export interface LoadedStack {
  readonly stack: StackFile
  /** Relative paths in the file start here. */
  readonly directory: string
}

/** Reads, interpolates and checks a Compose file. Throws a `ComposeError` with file, line and field. */
export function loadStack(
  path: string,
  environment: Readonly<Record<string, string | undefined>>,
): LoadedStack {
  let text: string
  try {
    text = readFileSync(path === '-' ? 0 : path, 'utf8')
  } catch (error) {
    throw new ComposeError(`cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`)
  }
  return {
    stack: parseStack(text, path, environment),
    directory: path === '-' ? process.cwd() : dirname(resolve(path)),
  }
}

export function parseStack(
  text: string,
  path: string,
  environment: Readonly<Record<string, string | undefined>>,
): StackFile {
  const counter = new LineCounter()
  const document = parseDocument(text, { lineCounter: counter, merge: true })
  const [problem] = document.errors
  if (problem !== undefined) throw new ComposeError(`${path}: ${problem.message}`)
  const raw: unknown = document.toJS()
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    throw new ComposeError(`${path}: a Compose file is a mapping with "services:"`)
  }
  // Extension fields may hold anything, at the top and in each service.
  const parsed = stackSchema.safeParse(interpolate(withoutExtensions(raw), environment))
  if (parsed.success) return parsed.data
  const lines = parsed.error.issues.slice(0, 5).map((issue) => {
    const { keys, message } = issueText(issue)
    const where = [...issue.path, ...keys]
    const node = document.getIn(where, true) ?? document.getIn(issue.path, true)
    const range =
      typeof node === 'object' && node !== null && 'range' in node ? (node.range as number[]) : undefined
    const line = range?.[0] === undefined ? '' : `:${counter.linePos(range[0]).line}`
    return `${path}${line}: ${where.join('.')}: ${message}`
  })
  throw new ComposeError(lines.join('\n'))
}

function issueText(issue: z.core.$ZodIssue): { keys: string[]; message: string } {
  if (issue.code === 'unrecognized_keys')
    return { keys: issue.keys.slice(0, 1), message: 'no such option in a stack file' }
  return { keys: [], message: issue.message }
}

function withoutExtensions(value: object): object {
  const strip = (each: unknown): unknown =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(
          Object.entries(each).filter(([key]) => !key.startsWith('x-') || key === 'x-cluster-spec'),
        )
      : each
  const top = strip(value) as Record<string, unknown>
  for (const section of ['services', 'networks', 'volumes', 'secrets', 'configs']) {
    const entries = top[section]
    if (typeof entries === 'object' && entries !== null && !Array.isArray(entries)) {
      top[section] = Object.fromEntries(Object.entries(entries).map(([key, each]) => [key, strip(each)]))
    } else if (entries === null) {
      delete top[section]
    }
  }
  return top
}
