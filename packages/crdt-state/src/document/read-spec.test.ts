import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { specKinds } from '../schema/kinds.ts'
import { specSchemas } from '../schema/resources.ts'
import { serviceSpec } from '../testing/spec-fixtures.ts'
import { flatten } from './flat.ts'
import { readSpec } from './read-spec.ts'

function registers(value: object): Map<string, string> {
  return new Map([...flatten(value)].map(([pointer, leaf]) => [pointer, JSON.stringify(leaf)]))
}
const sound = registers(serviceSpec({ Labels: { a: '1' }, UpdateConfig: { Parallelism: 2 } }))

describe('reading a merged document', () => {
  test('a valid spec is read as it is, without problems', () => {
    expect(readSpec('service', 'web', sound)).toEqual({
      spec: serviceSpec({ Labels: { a: '1' }, UpdateConfig: { Parallelism: 2 } }),
      problems: [],
    })
  })

  test('a member that does not fit is left out and shown, and the rest stays', () => {
    const { spec, problems } = readSpec(
      'service',
      'web',
      new Map([...sound, ['/UpdateConfig/Parallelism', '"many"']]),
    )
    expect(spec).toEqual(serviceSpec({ Labels: { a: '1' }, UpdateConfig: { Parallelism: 1 } }))
    expect(problems).toEqual([
      { path: '/UpdateConfig/Parallelism', winner: null, losers: [{ value: 'many', author: undefined }] },
    ])
  })

  test('what requires a missing member goes with it', () => {
    const driver = new Map([...registers({ Name: 's', Labels: {} }), ['/Driver/Options/a', '"1"']])
    expect(readSpec('secret', 's', driver)).toMatchObject({
      spec: { Name: 's', Labels: {} },
      problems: [{ path: '/Driver' }],
    })
  })

  test('a list with one bad element goes whole: half a list is nobody’s wish', () => {
    const mounts = JSON.stringify([{ Target: '/a' }, { Target: 7 }])
    const { spec, problems } = readSpec(
      'service',
      'web',
      new Map([...sound, ['/TaskTemplate/ContainerSpec/Mounts', mounts]]),
    )
    expect(spec.TaskTemplate.ContainerSpec.Mounts).toBeUndefined()
    expect(problems.map(({ path }) => path)).toEqual(['/TaskTemplate/ContainerSpec/Mounts'])
  })

  test('a service without an image runs nothing', () => {
    const { spec } = readSpec('service', 'web', new Map([['/Name', '"web"']]))
    expect(spec.Mode).toEqual({ Replicated: { Replicas: 0 } })
  })

  test('a node without a key is admitted by nobody', () => {
    expect(readSpec('node', 'n', new Map()).spec.PublicKey).toBe('')
  })

  test('whatever the registers, every kind is read as something valid, the same in each order', () => {
    const pointers = [
      ...sound.keys(),
      '/Mode',
      '/Mode/Global',
      '/Name/x',
      '/Driver/Name',
      '/IPAM/Config',
      '/PublicKey',
    ]
    const register = fc.tuple(
      fc.oneof(
        fc.constantFrom(...pointers),
        fc.string().map((text) => `/${text}`),
      ),
      fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.stringify(value)),
    )
    const some = fc.uniqueArray(register, { selector: ([pointer]) => pointer, maxLength: 8 })
    fc.assert(
      fc.property(fc.constantFrom(...specKinds), some, (kind, given) => {
        const all = new Map([...sound, ...given])
        const read = readSpec(kind, 'web', all)
        expect(specSchemas[kind].safeParse(read.spec)).toEqual({ success: true, data: read.spec })
        expect(readSpec(kind, 'web', new Map([...all].toReversed()))).toEqual(read)
      }),
      { numRuns: 500 },
    )
  })
})
