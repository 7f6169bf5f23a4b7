import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const packages = join(root, 'packages')

interface Source {
  /** Path from the root, e.g. `packages/agent/src/core/view.ts`. */
  readonly path: string
  readonly text: string
  /** Resolved paths from the root for relative imports, else the module's name. */
  readonly imports: readonly string[]
}

/** `import … from 'x'`, `export … from 'x'`, `import 'x'`, and `import('x')`. */
const importPattern = /^(?:import|export)\b(?:[^'"`;=]*?\bfrom)?\s*'([^']+)'|\bimport\(\s*'([^']+)'/gm

function sourcesBelow(directory: string): Source[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter(
      (entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.parentPath.includes('node_modules'),
    )
    .map((entry) => {
      const full = join(entry.parentPath, entry.name)
      const text = readFileSync(full, 'utf8')
      const imports = [...text.matchAll(importPattern)].map(([, statement, call]) => {
        const target = statement ?? call ?? ''
        return target.startsWith('.') ? relative(root, resolve(dirname(full), target)) : target
      })
      return { path: relative(root, full), text, imports }
    })
}

const sources = sourcesBelow(packages)
const product = sources.filter(({ path }) => !isTest(path))

function isTest(path: string): boolean {
  return /\.(test|testing|suite)\.ts$|\/testing\b/.test(path)
}

function importsOf(prefix: string): string[] {
  return product
    .filter(({ path }) => path.startsWith(prefix))
    .flatMap(({ path, imports }) => imports.map((target) => `${path} imports ${target}`))
}

describe('the house', () => {
  it('has sources to look at', () => {
    expect(product.length).toBeGreaterThan(40)
  })

  it('nothing in core imports I/O, a clock, a logger, an adapter, a port or the API', () => {
    const allowed =
      / imports (packages\/agent\/src\/core\/|packages\/agent\/src\/defaults\.ts|@moot\/crdt-state$)/
    expect(importsOf('packages/agent/src/core/').filter((line) => !allowed.test(line))).toEqual([])
  })

  it('nothing in core reads a clock or draws a random number', () => {
    const impure = /\b(Date\.now|new Date\(\)|Math\.random|performance\.now|setTimeout|setInterval|process\.)/
    const offenders = product.filter(
      ({ path, text }) => path.startsWith('packages/agent/src/core/') && impure.test(text),
    )
    expect(offenders.map(({ path }) => path)).toEqual([])
  })

  it('nothing in core uses mathematics whose last bit may differ between machines', () => {
    const inexact = /\bMath\.(log|log2|log10|pow|exp|sqrt|sin|cos|tan|cbrt|hypot)\b/
    const offenders = product.filter(
      ({ path, text }) => path.startsWith('packages/agent/src/core/') && inexact.test(text),
    )
    expect(offenders.map(({ path }) => path)).toEqual([])
  })

  it('nothing in crdt-state imports from the agent', () => {
    expect(
      importsOf('packages/crdt-state/').filter((line) =>
        /imports .*(packages\/(agent|cli)|@moot\/)/.test(line),
      ),
    ).toEqual([])
  })

  it('a port imports no adapter, and nothing but the wiring imports an adapter', () => {
    const wiring = /^packages\/agent\/src\/(main\.ts|adapters\/)/
    const offenders = product
      .filter(({ path }) => path.startsWith('packages/agent/src/') && !wiring.test(path))
      .flatMap(({ path, imports }) =>
        imports
          .filter((target) => target.startsWith('packages/agent/src/adapters/'))
          .map((target) => `${path} imports ${target}`),
      )
    expect(offenders).toEqual([])
  })

  it('the command line speaks only HTTP to an agent: of the other packages it sees types', () => {
    const offenders = product
      .filter(({ path }) => path.startsWith('packages/cli/'))
      .filter(({ text }) => /^import (?!type)[^'"]*from '@moot\//m.test(text))
    expect(offenders.map(({ path }) => path)).toEqual([])
  })

  it('no source file lies dead: each is imported by another, or is an entry', () => {
    const entries = /\/(main|index)\.ts$/
    const imported = new Set(
      [...sources, ...sourcesBelow(join(root, 'test')), ...sourcesBelow(join(root, 'scripts'))].flatMap(
        ({ imports }) => imports,
      ),
    )
    const dead = product.filter(({ path }) => !entries.test(path) && !imported.has(path))
    expect(dead.map(({ path }) => path)).toEqual([])
  })

  it('no TODO or FIXME without an owner note', () => {
    const loose = /\b(TODO|FIXME|XXX)\b(?!\([a-z][^)]+\))/
    expect(product.filter(({ text }) => loose.test(text)).map(({ path }) => path)).toEqual([])
  })

  it('every default has its reason beside it', () => {
    for (const { text } of product.filter(({ path }) => path.endsWith('/defaults.ts'))) {
      const lines = text.split('\n')
      const bare = lines.filter(
        (line, index) => /^ {2}\w+: /.test(line) && !/\*\/\s*$/.test(lines[index - 1] ?? ''),
      )
      // A default that stands directly below another shares its reason (interval and timeout of one thing).
      const alone = bare.filter((line) => !/^ {2}\w+: /.test(lines[lines.indexOf(line) - 1] ?? ''))
      expect(alone).toEqual([])
    }
  })

  it('no source names a path of one machine or a registry host', () => {
    const offenders = [
      ...sources,
      ...sourcesBelow(join(root, 'scripts')),
      ...sourcesBelow(join(root, 'test')),
    ].filter(
      ({ path, text }) =>
        path !== 'test/tidy/tidy.test.ts' && /\/work\/|registry\.npmjs|deb\.debian/.test(text),
    )
    expect(offenders.map(({ path }) => path)).toEqual([])
  })
})
