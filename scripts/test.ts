import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { Bed } from './bed/hosts.ts'
import { cacheDirectory, repository } from './bed/place.ts'

/** `make test`: everything, then one plain line with the sum. */

const reports = join(cacheDirectory, 'test')

interface Count {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** What failed and why, a few lines each: told again at the end, where whoever has only a log's last lines finds it. */
  readonly failures: readonly string[]
}

/** The part of Vitest's JSON report that we add up and tell. */
interface Report {
  readonly success: boolean
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: readonly {
      readonly fullName: string
      readonly status: string
      readonly failureMessages: readonly string[]
    }[]
  }[]
}

/** Of a test that failed, and of a file that did not load. */
function failuresIn({ testResults }: Report): readonly string[] {
  return testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = relative(repository, name)
    const failed = assertionResults.filter((test) => test.status === 'failed')
    if (failed.length === 0) return status === 'failed' ? [`${file}\n${beginningOf(message)}`] : []
    return failed.map(
      ({ fullName, failureMessages }) => `${file}: ${fullName}\n${beginningOf(failureMessages.join('\n'))}`,
    )
  })
}

const failureLinesMax = 6

function beginningOf(message: string): string {
  const lines = stripVTControlCharacters(message).trim().split('\n')
  return lines.slice(0, failureLinesMax).join('\n')
}

/** Runs a program with our output as its own, and gives its exit code. */
function follow(command: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: repository, stdio: ['ignore', 'inherit', 'inherit'] })
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? 1))
  })
}

async function step(title: string, action: () => Promise<Count>): Promise<Count> {
  const startMs = performance.now()
  console.log(`\n=== ${title}`)
  const count = await action()
  const seconds = Math.round((performance.now() - startMs) / 1000)
  console.log(`=== ${title}: ${count.passed} passed, ${count.failed} failed in ${seconds} s`)
  return count
}

async function check(): Promise<Count> {
  const code = await follow('npm', ['run', '--silent', 'check'])
  return code === 0
    ? { passed: 0, failed: 0, skipped: 0, failures: [] }
    : { passed: 0, failed: 1, skipped: 0, failures: ['npm run check'] }
}

/** A run that fails without a failed test (a file that does not load, no file at all) counts as one failure. */
async function vitest(name: string, ...args: string[]): Promise<Count> {
  const output = join(reports, `${name}.json`)
  await rm(output, { force: true })
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${output}`]
  const code = await follow('vitest', ['run', ...reporters, ...args])
  if (!existsSync(output)) {
    return { passed: 0, failed: 1, skipped: 0, failures: [`${name}: ended with ${code} and no report`] }
  }
  const report = JSON.parse(readFileSync(output, 'utf8')) as Report
  const wrong = code !== 0 || !report.success
  const failures = failuresIn(report)
  return {
    passed: report.numPassedTests,
    failed: wrong ? Math.max(1, report.numFailedTests) : report.numFailedTests,
    skipped: report.numPendingTests + report.numTodoTests,
    failures: wrong && failures.length === 0 ? [`${name}: ended with ${code} and no failed test`] : failures,
  }
}

async function main(): Promise<void> {
  await mkdir(reports, { recursive: true })
  // Agents and the CLI are started from their sources by the hundred: each needs half the time when another has compiled them.
  process.env['NODE_COMPILE_CACHE'] ??= join(cacheDirectory, 'compiled')
  const bed = new Bed()
  const counts: Count[] = []
  try {
    counts.push(await step('format, lint, types', check))
    counts.push(await step('unit', () => vitest('unit', '--project', 'unit-*')))
    counts.push(await step('make up', () => vitest('make-up', '--project', 'make-up')))
    counts.push(await step('e2e on real engines', () => vitest('e2e', '--project', 'e2e')))
  } finally {
    await bed.down()
  }
  const sum = (pick: (count: Count) => number): number =>
    counts.reduce((total, count) => total + pick(count), 0)
  const failed = sum((count) => count.failed)
  const skipped = sum((count) => count.skipped)
  if (failed > 0) process.exitCode = 1
  for (const failure of counts.flatMap(({ failures }) => failures)) console.log(`\nFailed: ${failure}`)
  console.log('')
  console.log(
    `${sum((count) => count.passed)} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`,
  )
}

await main()
