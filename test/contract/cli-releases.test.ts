import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { releaseOf, type Resource, type ServiceSpec, specDigest, updateFact } from '@moot/crdt-state'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type ApiBed, apiBed } from '../../packages/agent/src/api/testing/api-bed.ts'
import { type Result, runMoot } from './run-moot.ts'

let bed: ApiBed
let directory: string
beforeEach(async () => {
  bed = await apiBed()
  directory = mkdtempSync(join(tmpdir(), 'moot-cli-'))
})
afterEach(async () => {
  rmSync(directory, { recursive: true })
  await bed.stop()
})

const moot = (...words: readonly string[]): Promise<Result> => runMoot(bed, ...words)

function deploy(services: Readonly<Record<string, string>>, ...options: readonly string[]): Promise<Result> {
  const file = join(directory, 'stack.yml')
  const entries = Object.entries(services).map(([name, image]) => `  ${name}: { image: "${image}" }`)
  writeFileSync(file, `services:\n${entries.join('\n')}\n`)
  return moot('deploy', '-c', file, ...options, 'shop')
}

const services = (): readonly Resource<ServiceSpec>[] => [...bed.cluster.view().services.values()]
const images = (): Readonly<Record<string, string>> =>
  Object.fromEntries(
    services().map(({ name, spec }) => [name.slice('shop_'.length), spec.TaskTemplate.ContainerSpec.Image]),
  )

/** Once the whole release is written, what has a bad image goes back, and with it what has something to go back to. */
function failBadImages(): void {
  const stop = bed.cluster.subscribe((event) => {
    const bad = services().find(({ spec }) => spec.TaskTemplate.ContainerSpec.Image === 'web:bad')
    const release = bad === undefined ? undefined : releaseOf(bad.spec)
    if (event.kind !== 'spec' || bad === undefined || release === undefined) return
    if (services().some(({ name, spec }) => name === 'shop_api' && releaseOf(spec) !== release)) return
    stop()
    setImmediate(() => {
      const task = bed.cluster.tasks().find((each) => (each.task.service as string) === bad.id)!.task.id
      bed.cluster.changeTask(task, { error: 'exit code 3' })
      for (const each of services()) {
        if (releaseOf(each.spec) !== release || each.previous === undefined) continue
        const digest = specDigest(each.spec)
        if (each.id === bad.id)
          bed.cluster.goBack(each.id, updateFact.failed(digest), {
            task,
            atMs: 1,
            back: {},
            releases: [release],
          })
        else {
          const because = { task, atMs: 1, back: {}, release: { id: release, service: bad.name } }
          bed.cluster.goBack(each.id, updateFact.failedWith(digest, release), because)
        }
      }
    })
  })
}

test('moot deploy says what it did, and does nothing the second time', async () => {
  const first = await deploy({ web: 'web:1', api: 'api:1' })
  expect(first).toMatchObject({
    code: 0,
    out: expect.stringMatching(/shop: 2 services deployed, release 1-/) as string,
  })
  const before = services()
  const again = await deploy({ web: 'web:1', api: 'api:1' })
  expect(again).toMatchObject({
    code: 0,
    out: expect.stringMatching(/shop: 0 services deployed, 2 unchanged\n$/) as string,
  })
  expect(services()).toEqual(before)
  await deploy({ web: 'web:2', api: 'api:1' }, '--no-atomic')
  expect(services().map(({ name, spec }) => [name, releaseOf(spec)?.slice(0, 2)])).toEqual([
    ['shop_web', undefined],
    ['shop_api', '1-'],
  ])
})

test('a release of which one fails: moot deploy names it, those that went back and those that stay, and fails', async () => {
  await deploy({ web: 'web:1', api: 'api:1' })
  failBadImages()
  const result = await deploy({ web: 'web:bad', new: 'new:1', api: 'api:2' })
  expect(result.code).toBe(1)
  expect(result.err).toMatch(/moot: release 2-\w+ of shop has failed and went back:/)
  expect(result.err).toMatch(/shop_web: the update failed and is undone: task \w+: exit code 3/)
  expect(result.err).toContain('shop_api: went back with its release: shop_web failed')
  expect(result.err).toContain('shop_new: stays: it is new')
  expect(images()).toEqual({ web: 'web:1', api: 'api:1', new: 'new:1' })
})

test('a release that fails is told to scripts as JSON too', async () => {
  await deploy({ web: 'web:1', api: 'api:1' })
  failBadImages()
  const result = await deploy({ web: 'web:bad', api: 'api:2' }, '--json')
  expect(result.code).toBe(1)
  expect(JSON.parse(result.out)).toMatchObject({
    stack: 'shop',
    release: expect.stringMatching(/^2-/) as string,
    services: [
      { name: 'shop_web', change: 'updated', outcome: 'went back' },
      { name: 'shop_api', outcome: 'went back' },
    ],
  })
})

test('moot history shows who changed what, of a stack and of a service', async () => {
  await deploy({ web: 'web:1', api: 'api:1' })
  await deploy({ web: 'web:2', api: 'api:1' })
  const { out } = await moot('history', 'shop')
  expect(out.split('\n').map((line) => line.replaceAll(/ {2,}/g, ' | '))).toEqual([
    'N | WHEN | WHO | CHANGED | RELEASE',
    expect.stringMatching(/^2 \| .* \| alice@host-1 \| web: image web:1 → web:2 \| 2-\w{6}$/),
    expect.stringMatching(/^1 \| .* \| api: created: image api:1, replicas 1; web: created: .* \| 1-\w{6}$/),
    '',
  ])
  for (const words of [['history'], ['service', 'history']]) {
    const rows = JSON.parse((await moot(...words, '--json', 'shop_web')).out) as { number: number }[]
    expect(rows.map(({ number }) => number)).toEqual([2, 1])
  }
})

test('moot rollback goes back, shows that it runs, and says why it cannot', async () => {
  await deploy({ web: 'web:1', api: 'api:1' })
  await deploy({ web: 'web:2', api: 'api:2', new: 'new:1' })
  const stack = await moot('rollback', 'shop')
  expect(stack).toMatchObject({
    code: 0,
    out: expect.stringContaining('shop: shop_api, shop_web back to what was before') as string,
    err: expect.stringContaining('warning: shop_new stays as it is: it did not exist before') as string,
  })
  expect(images()).toMatchObject({ web: 'web:1', api: 'api:1' })
  expect((await moot('rollback', '--to', '2', 'shop_web')).code).toBe(0)
  expect(images()).toMatchObject({ web: 'web:2', api: 'api:1' })
  expect(await moot('rollback', '--to', '7', 'shop')).toMatchObject({
    code: 1,
    err: expect.stringContaining('moot: stack shop has no release 7') as string,
  })
})
