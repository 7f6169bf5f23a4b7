import { specDigest, updateFact } from '@moot/crdt-state'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ApiBed, apiBed } from '../../packages/agent/src/api/testing/api-bed.ts'

let bed: ApiBed
beforeEach(async () => {
  bed = await apiBed()
})
afterEach(async () => bed.stop())

// oxlint-disable-next-line typescript/no-explicit-any -- answers are read as a client without types reads them
type Any = any

const service = (name: string, image: string, more: object = {}): object => ({
  Name: `shop_${name}`,
  TaskTemplate: { ContainerSpec: { Image: image } },
  ...more,
})

async function ok(method: string, path: string, body?: unknown): Promise<Any> {
  const answer = await bed.call(method, path, body)
  expect(answer).toMatchObject({ status: 200 })
  return answer.body
}
async function refused(path: string, body: unknown = {}): Promise<readonly [number, string]> {
  const answer = await bed.call('POST', `/moot/v1${path}`, body)
  return [answer.status, (answer.body as { message: string }).message]
}
const deploy = (release: string | undefined, ...services: readonly object[]): Promise<Any> =>
  ok('POST', '/moot/v1/deploy/shop', { ...(release !== undefined && { release }), services })
const rollback = (ref: string, body: object = {}): Promise<Any> =>
  ok('POST', `/moot/v1/rollback/${encodeURIComponent(ref)}`, body)
const changesOf = async (answer: Promise<Any>): Promise<readonly string[]> =>
  ((await answer).services as Any[]).map(({ change }: Any) => String(change))
const inspect = async (name: string): Promise<Any> => ok('GET', `/services/shop_${name}`)
const image = async (name: string): Promise<string> =>
  String((await inspect(name)).Spec.TaskTemplate.ContainerSpec.Image)
const release = async (name: string): Promise<unknown> => (await inspect(name)).Spec.Labels['moot.release']
/** As the steward writes it; `because` names the service of the release that has failed. */
function goBack(name: string, id: string, because?: string): void {
  const found = [...bed.cluster.view().services.values()].find((each) => each.name === `shop_${name}`)!
  const digest = specDigest(found.spec)
  const task = bed.cluster.tasks()[0]!.task.id
  bed.cluster.changeTask(task, { error: 'exit code 3' })
  const failure =
    because === undefined
      ? { task, atMs: 5, back: {}, releases: [id] }
      : { task, atMs: 6, back: {}, release: { id, service: `shop_${because}` } }
  const key = because === undefined ? updateFact.failed(digest) : updateFact.failedWith(digest, id)
  bed.cluster.goBack(found.id, key, failure)
}

describe('a deploy', () => {
  test('is one release of what it creates and changes; what it leaves as it is keeps its own', async () => {
    const first = await deploy('aaaa', service('web', 'web:1'), service('api', 'api:1'))
    expect(first).toMatchObject({ release: '1-aaaa' })
    expect(first.services.map(({ name, change }: Any) => [name, change] as unknown)).toEqual([
      ['shop_web', 'created'],
      ['shop_api', 'created'],
    ])
    const second = await deploy('bbbb', service('web', 'web:2'), service('api', 'api:1'))
    expect(second.release).toBe('2-bbbb')
    expect([await release('web'), await release('api')]).toEqual(['2-bbbb', '1-aaaa'])
  })

  test('that changes nothing writes nothing and is no release', async () => {
    await deploy('aaaa', service('web', 'web:1', { Labels: { a: 'b' } }))
    const before = await inspect('web')
    const again = await deploy('bbbb', service('web', 'web:1', { Labels: { a: 'b' } }))
    expect(again.release).toBeUndefined()
    expect(again.services).toMatchObject([{ change: 'unchanged', version: before.Version.Index }])
    expect(await inspect('web')).toEqual(before)
  })

  test('without a release takes the label from what it changes', async () => {
    await deploy('aaaa', service('web', 'web:1'), service('api', 'api:1'))
    expect(await changesOf(deploy(undefined, service('web', 'web:2'), service('api', 'api:1')))).toEqual([
      'updated',
      'unchanged',
    ])
    expect([await release('web'), await release('api')]).toEqual([undefined, '1-aaaa'])
  })

  test('tries again what went back, with its release too, by a digest of its own, once', async () => {
    await deploy('aaaa', service('web', 'web:1'), service('api', 'api:1'))
    await deploy('bbbb', service('web', 'web:2'), service('api', 'api:2'))
    goBack('web', '2-bbbb')
    goBack('api', '2-bbbb', 'web')
    const again = await deploy('cccc', service('web', 'web:2'), service('api', 'api:2'))
    expect(again.release).toBe('3-cccc')
    expect((await inspect('api')).Spec.TaskTemplate).toMatchObject({ ForceUpdate: 1 })
    expect(await changesOf(deploy('dddd', service('web', 'web:2'), service('api', 'api:2')))).toEqual([
      'unchanged',
      'unchanged',
    ])
  })

  test('judges anew what was well once, and does not undo --force', async () => {
    const force = async (): Promise<unknown> => (await inspect('web')).Spec.TaskTemplate.ForceUpdate
    const completed = (): void => {
      const found = [...bed.cluster.view().services.values()].find((each) => each.name === 'shop_web')!
      bed.cluster.complete(found.id)
    }
    await deploy('aaaa', service('web', 'web:1'))
    await deploy('bbbb', service('web', 'web:2'))
    completed()
    await deploy('cccc', service('web', 'web:3'))
    // Of an update that is not over some slots may run web:2 yet: they stay as they are.
    await deploy('dddd', service('web', 'web:2'))
    expect(await force()).toBeUndefined()
    await deploy('eeee', service('web', 'web:3'))
    completed()
    await deploy('ffff', service('web', 'web:2'))
    expect(await force()).toBe(1)
    expect(await changesOf(deploy('gggg', service('web', 'web:2')))).toEqual(['unchanged'])
  })

  test('a scale of what went back with its release restarts nothing', async () => {
    await deploy('aaaa', service('web', 'web:1', { Mode: { Replicated: { Replicas: 1 } } }))
    await deploy('bbbb', service('web', 'web:1', { Mode: { Replicated: { Replicas: 4 } } }))
    goBack('web', '2-bbbb', 'api')
    await deploy('cccc', service('web', 'web:1', { Mode: { Replicated: { Replicas: 3 } } }))
    expect((await inspect('web')).Spec.TaskTemplate.ForceUpdate).toBeUndefined()
  })

  test('is checked as a whole before anything is written, and the error names the service', async () => {
    const wrong = { Name: 'shop_api', TaskTemplate: {} }
    expect(await refused('/deploy/shop', { services: [service('web', 'web:1'), wrong] })).toEqual([
      400,
      expect.stringContaining('shop_api: invalid service: TaskTemplate.ContainerSpec'),
    ])
    expect((await bed.call('GET', '/services/shop_web')).status).toBe(404)
    const twice = [service('web', 'web:1'), service('web', 'web:2')]
    expect(await refused('/deploy/shop', { services: twice })).toEqual([
      400,
      'service shop_web is given twice',
    ])
    await bed.call('POST', '/services/create', service('db', 'db:1'))
    expect(await refused('/deploy/shop', { services: [service('db', 'db:2')] })).toEqual([
      409,
      expect.stringContaining('shop_db: a service named "shop_db" exists already'),
    ])
  })

  test.each([
    [{ services: [] }, /services/],
    [{ services: [{ TaskTemplate: {} }] }, /Name/],
    [{ release: 'A B', services: [service('web', 'web:1')] }, /release: give 4 to 20 letters/],
    [{ services: [service('web', 'web:1')], atomic: true }, /atomic/],
  ])('%j is refused by the field', async (body, message) => {
    expect(await refused('/deploy/shop', body)).toEqual([400, expect.stringMatching(message)])
  })
})

describe('the outcome', () => {
  test('tells of each service of a stack what runs, and who has failed', async () => {
    await deploy('aaaa', service('web', 'web:1'), service('api', 'api:1'))
    await deploy('bbbb', service('web', 'web:2'), service('api', 'api:2'))
    expect(await ok('GET', '/moot/v1/outcome/shop')).toMatchObject([
      { name: 'shop_api', running: 1, desired: 1, release: '2-bbbb' },
      { name: 'shop_web', running: 1, desired: 1, release: '2-bbbb' },
    ])
    goBack('web', '2-bbbb')
    goBack('api', '2-bbbb', 'web')
    const [api, web] = await ok('GET', '/moot/v1/outcome/stack%2Fshop')
    expect(web.failure).toMatchObject({ error: 'exit code 3' })
    expect(web.failure.release).toBeUndefined()
    expect(api.failure).toMatchObject({ release: { id: '2-bbbb', service: 'shop_web' } })
  })

  test('of a name that is both a stack’s and a service’s must be asked for with which', async () => {
    await deploy('aaaa', service('web', 'web:1'))
    await bed.call('POST', '/services/create', { ...service('x', 'x:1'), Name: 'shop' })
    const answer = await bed.call('GET', '/moot/v1/outcome/shop')
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining('stack/shop or service/shop')])
    expect(await ok('GET', '/moot/v1/outcome/service%2Fshop')).toMatchObject([{ name: 'shop' }])
    expect((await bed.call('GET', '/moot/v1/outcome/stack%2Fnone')).status).toBe(404)
  })
})

describe('the changes', () => {
  test('of a service are told in words, newest first, with who made them', async () => {
    const env = (...Env: readonly string[]): object => ({
      TaskTemplate: { ContainerSpec: { Image: 'web:2', Env } },
      Mode: { Replicated: { Replicas: 5 } },
    })
    await deploy('aaaa', service('web', 'web:1'))
    await deploy('bbbb', service('web', '', env('FOO=secret', 'BAR=1')))
    await deploy('cccc', service('web', '', env('FOO=other')))
    goBack('web', '3-cccc')
    const rows = await ok('GET', '/moot/v1/changes/shop_web')
    expect(rows.map(({ number, release: id, what }: Any) => [number, id, what] as unknown)).toEqual([
      [undefined, undefined, [expect.stringMatching(/^update failed, went back: task /)]],
      [3, '3-cccc', ['env BAR removed', 'env FOO changed']],
      [2, '2-bbbb', ['image web:1 → web:2', 'env BAR added', 'env FOO added', 'replicas 1 → 5']],
      [1, '1-aaaa', ['created: image web:1, replicas 1']],
    ])
    expect(JSON.stringify(rows)).not.toContain('secret')
    expect(rows[1]).toMatchObject({
      nodeName: 'host-1',
      author: { node: bed.cluster.self },
      action: 'update',
    })
  })

  test('of a stack have one row for a release, by its number, and what was done between them', async () => {
    await deploy('aaaa', service('web', 'web:1'), service('api', 'api:1'))
    const { Version, Spec } = await inspect('web')
    await ok('POST', `/services/shop_web/update?version=${Version.Index}`, {
      ...Spec,
      Mode: { Replicated: { Replicas: 2 } },
    })
    await deploy('bbbb', service('web', 'web:2'), service('api', 'api:2'))
    const rows = await ok('GET', '/moot/v1/changes/shop')
    const [newest] = rows
    expect(newest).toMatchObject({ number: 2, release: '2-bbbb', action: 'release' })
    expect(newest.what).toEqual([
      'api: image api:1 → api:2',
      'web: image web:1 → web:2',
      'web: replicas 2 → 1',
    ])
    expect(rows.map(({ number, what }: Any) => [number, what.length] as unknown)).toEqual([
      [2, 3],
      [undefined, 1],
      [1, 2],
    ])
  })
})

describe('a rollback', () => {
  test('of a service is Docker’s, and a second one undoes the first', async () => {
    await deploy('aaaa', service('web', 'web:1'))
    await deploy('bbbb', service('web', 'web:2'))
    expect(await rollback('shop_web')).toMatchObject({ services: [{ name: 'shop_web' }], left: [] })
    expect(await image('web')).toBe('web:1')
    await rollback('service/shop_web')
    expect(await image('web')).toBe('web:2')
  })

  test('of a service to a number writes that spec anew', async () => {
    for (const [at, tag] of ['1', '2', '3'].entries()) await deploy(`aaa${at}`, service('web', `web:${tag}`))
    await rollback('shop_web', { to: '1' })
    expect(await image('web')).toBe('web:1')
    const rows = await ok('GET', '/moot/v1/changes/shop_web')
    expect(rows[0]).toMatchObject({ number: 4, action: 'rollback', what: ['image web:3 → web:1'] })
  })

  test('of a service to what it is, or was never, or of one that never changed, is refused', async () => {
    await deploy('aaaa', service('web', 'web:1'))
    expect(await refused('/rollback/shop_web')).toEqual([400, expect.stringContaining('no previous spec')])
    expect(await refused('/rollback/shop_web', { to: '1' })).toEqual([
      400,
      'service shop_web is already what change 1 made it',
    ])
    expect(await refused('/rollback/shop_web', { to: '9' })).toEqual([
      400,
      expect.stringContaining('has no change 9: its changes are numbered 1 to 1'),
    ])
    expect(await refused('/rollback/shop_web', { to: 'yesterday' })).toEqual([
      400,
      expect.stringContaining('to: give a number'),
    ])
  })

  test('of what went back by itself is refused, unless it is named where to', async () => {
    await deploy('aaaa', service('web', 'web:1'))
    await deploy('bbbb', service('web', 'web:2'))
    await deploy('cccc', service('web', 'web:bad'))
    goBack('web', '3-cccc')
    for (const ref of ['shop_web', 'shop']) {
      expect(await refused(`/rollback/${ref}`)).toEqual([
        400,
        expect.stringMatching(/went back by itself.*--to/),
      ])
    }
    await rollback('shop_web', { to: '1' })
    expect(await image('web')).toBe('web:1')
  })

  test('of a stack brings what its last release changed back together, as a release; a second one undoes it', async () => {
    await deploy('aaaa', service('web', 'web:1'), service('api', 'api:1'), service('db', 'db:1'))
    await deploy('bbbb', service('web', 'web:2'), service('api', 'api:2'), service('new', 'new:1'))
    const answer = await rollback('shop', { release: 'cccc' })
    expect(answer).toMatchObject({
      release: '3-cccc',
      services: [{ name: 'shop_api' }, { name: 'shop_web' }],
      left: [{ name: 'shop_new', why: 'it did not exist before' }],
    })
    const images = (): Promise<readonly string[]> => Promise.all(['web', 'api', 'db', 'new'].map(image))
    expect(await images()).toEqual(['web:1', 'api:1', 'db:1', 'new:1'])
    expect(await release('db')).toBe('1-aaaa')
    await rollback('shop')
    expect(await images()).toEqual(['web:2', 'api:2', 'db:1', 'new:1'])
    const rows = await ok('GET', '/moot/v1/changes/shop')
    expect(rows.map(({ number }: Any) => number as unknown)).toEqual([4, 3, 2, 1])
  })

  test('of a stack to a release undoes all newer ones, and what was changed by hand on top of it', async () => {
    await deploy('aaaa', service('web', 'web:1'), service('api', 'api:1'))
    await deploy('bbbb', service('web', 'web:2'))
    await deploy('cccc', service('web', 'web:3'), service('api', 'api:3'))
    await rollback('shop', { to: '2' })
    expect([await image('web'), await image('api')]).toEqual(['web:2', 'api:1'])
    expect(await refused('/rollback/shop', { to: '9' })).toEqual([
      400,
      expect.stringContaining('stack shop has no release 9'),
    ])
    expect(await refused('/rollback/shop', { to: '4' })).toEqual([
      400,
      expect.stringContaining('has nothing to go back to: it is that already'),
    ])
  })

  test('of a stack that no release has changed is refused', async () => {
    await deploy(undefined, service('web', 'web:1'))
    expect(await refused('/rollback/shop')).toEqual([400, expect.stringContaining('no release of shop')])
  })
})
