import { describe, expect, test } from 'vitest'
import { ConstraintSyntaxError, parseConstraint, requirementOf } from './constraint.ts'
import { node } from './fixtures.ts'
import { normalArchitecture, platformMatches } from './platform.ts'

const here = node('Alpha', { labels: { zone: 'EU-west', constructor: 'x' } })

describe('placement constraints', () => {
  test.each([
    ['node.hostname == alpha', true],
    ['node.hostname != ALPHA', false],
    ['NODE.HostName==Alpha', true],
    ['node.id == ' + here.id.toUpperCase(), true],
    ['node.role == manager', true],
    ['node.role != worker', true],
    ['node.platform.os == Linux', true],
    ['node.platform.arch == amd64', true],
    ['node.platform.arch == x86_64', true],
    ['node.platform.arch != x86_64', false],
    ['node.labels.zone == eu-WEST', true],
    ['Node.Labels.zone == eu-west', true],
    ['node.labels.Zone == eu-west', false],
    ['node.labels.none == x', false],
    ['node.labels.none != x', true],
    ['node.labels.toString == x', false],
    ['node.labels.constructor == x', true],
    ['engine.labels.gpu != yes', true],
    ['node.ip == 10.0.0.1', true],
    ['node.ip == 10.0.0.0/24', true],
    ['node.ip == 10.0.1.0/24', false],
    ['node.ip != 10.0.0.0/8', false],
    ['node.ip == 0.0.0.0/0', true],
    ['node.ip == 10.0.0.1/33', false],
  ])('%s: %s', (text, matches) => {
    expect(requirementOf(text).isMet(here)).toBe(matches)
  })

  test('an attribute of a node that has not described itself matches nothing', () => {
    const silent = { ...here, record: undefined }
    expect(requirementOf('node.hostname != alpha').isMet(silent)).toBe(false)
    expect(requirementOf('node.labels.zone == eu-west').isMet(silent)).toBe(true)
  })

  test.each([
    ['', 'it has neither == nor !='],
    ['node.role = manager', 'it has neither == nor !='],
    ['==x', '"" is no key'],
    ['node.role ==', 'the value is missing'],
    ['node.rôle == x', '"node.rôle" is no key'],
    ['node.colour == red', 'nodes have no "node.colour"'],
    ['node.labels. == red', 'nodes have no "node.labels."'],
    ['node.labels.a == <3', 'characters that are not allowed'],
    ['node.labels.a == b == c', 'characters that are not allowed'],
  ])('%s is refused: %s', (text, problem) => {
    expect(() => parseConstraint(text)).toThrow(ConstraintSyntaxError)
    expect(() => parseConstraint(text)).toThrow(problem)
    expect(() => parseConstraint(text)).toThrow('Write KEY==VALUE or KEY!=VALUE')
    expect(requirementOf(text).isMet(here)).toBe(false)
  })
})

describe('platforms', () => {
  test('uname’s and Go’s names are one architecture', () => {
    expect(['x86_64', 'AMD64', 'aarch64', 'arm64', 'riscv64'].map(normalArchitecture)).toEqual([
      'amd64',
      'amd64',
      'arm64',
      'arm64',
      'riscv64',
    ])
  })

  test('an empty side means any', () => {
    const arm = { os: 'linux', architecture: 'aarch64' }
    expect(platformMatches(arm, { OS: 'linux' })).toBe(true)
    expect(platformMatches(arm, { OS: '', Architecture: 'arm64' })).toBe(true)
    expect(platformMatches(arm, { OS: 'windows', Architecture: 'arm64' })).toBe(false)
  })
})
