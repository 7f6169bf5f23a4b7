import { specDigest } from '@moot/crdt-state'
import { describe, expect, test } from 'vitest'
import { serviceOf } from '../reconcile/testing.ts'
import { probesOf, readHealthLabels } from './labels.ts'

const usual = { intervalMs: 30_000, timeoutMs: 30_000, retries: 3, startPeriodMs: 0 }

describe('labels of health', () => {
  test('one label is a readiness probe with Docker’s defaults, and nothing else', () => {
    expect(readHealthLabels({ 'moot.health.http': '8080/ready?deep=1' })).toEqual({
      probes: { readiness: { check: { kind: 'http', port: 8080, path: '/ready?deep=1' }, ...usual } },
      problems: [],
    })
    expect(readHealthLabels({ 'moot.health.http': '80' }).probes.readiness?.check).toEqual({
      kind: 'http',
      port: 80,
      path: '/',
    })
    expect(readHealthLabels({ 'moot.health.tcp': '5432' }).probes).toEqual({
      readiness: { check: { kind: 'tcp', port: 5432 }, ...usual },
    })
  })

  test('what is said of all probes holds for each, and what is said of one for that one', () => {
    const { probes, problems } = readHealthLabels({
      'moot.health.tcp': '80',
      'moot.health.live.http': '81/live',
      'moot.health.startup.tcp': '82',
      'moot.health.interval': '5s',
      'moot.health.live.interval': '1m30s',
      'moot.health.live.retries': '7',
      'moot.health.startup.start_period': '1.5s',
      'moot.health.timeout': '0',
    })
    expect(problems).toEqual([])
    expect(probes).toMatchObject({
      readiness: { ...usual, intervalMs: 5_000 },
      liveness: { ...usual, intervalMs: 90_000, retries: 7 },
      startup: { ...usual, intervalMs: 5_000, startPeriodMs: 1_500 },
    })
  })

  test('the service’s labels win over the container’s, of each probe and each setting', () => {
    const container = { 'moot.health.http': '80/', 'moot.health.live.tcp': '81', 'moot.health.retries': '9' }
    const service = { 'moot.health.tcp': '90', 'moot.health.interval': '1s' }
    expect(readHealthLabels(service, container)).toEqual({
      probes: {
        readiness: { ...usual, check: { kind: 'tcp', port: 90 }, intervalMs: 1_000, retries: 9 },
        liveness: { ...usual, check: { kind: 'tcp', port: 81 }, intervalMs: 1_000, retries: 9 },
      },
      problems: [],
    })
  })

  test.each([
    [{ 'moot.health.http': 'ready' }, 'moot.health.http=ready: write a port and a path, as in 8080/ready'],
    [{ 'moot.health.http': '8080/a b' }, 'the path without spaces'],
    [{ 'moot.health.http': '70000/' }, 'a port is a number from 1 to 65535'],
    [{ 'moot.health.tcp': '0' }, 'moot.health.tcp=0: write a port, as in 5432'],
    [{ 'moot.health.tcp': '80', 'moot.health.interval': '5' }, 'write a duration as Docker does'],
    [{ 'moot.health.tcp': '80', 'moot.health.interval': '1ms' }, 'it is at least 100ms'],
    [{ 'moot.health.tcp': '80', 'moot.health.timeout': '25h' }, 'it is at most 24h'],
    [{ 'moot.health.tcp': '80', 'moot.health.retries': '-1' }, 'write a number, as in 3'],
    [{ 'moot.health.htpt': '80' }, 'moot.health.htpt is no label of Moot’s'],
    [{ 'moot.health': '80' }, 'moot.health is no label of Moot’s'],
    [{ 'moot.health.interval': '5s' }, 'there is none: add moot.health.http=PORT/PATH'],
    [{ 'moot.health.tcp': '80', 'moot.health.live.retries': '2' }, 'add moot.health.live.http=PORT/PATH'],
    [
      { 'moot.health.http': '80', 'moot.health.tcp': '80' },
      'moot.health.http and moot.health.tcp exclude each other',
    ],
  ])('%j is refused, with what to write', (labels, words) => {
    const { problems } = readHealthLabels(labels)
    expect(problems).toEqual([expect.stringContaining(words.replace('’', "'"))])
  })

  test('of labels that exclude one another after a merge, what can be understood counts', () => {
    const labels = { 'moot.health.tcp': '80', 'moot.health.interval': 'often', 'moot.other': 'x' }
    expect(probesOf(serviceOf('web', { Labels: labels }).spec)).toEqual({
      readiness: { check: { kind: 'tcp', port: 80 }, ...usual },
    })
  })

  test('a change of them makes no task anew', () => {
    const before = serviceOf('web')
    const after = serviceOf('web', { Labels: { 'moot.health.tcp': '80' } })
    expect(specDigest(after.spec)).toBe(specDigest(before.spec))
  })
})
