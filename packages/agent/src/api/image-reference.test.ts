import { expect, test } from 'vitest'
import { isImageReference } from './image-reference.ts'

const digest = `sha256:${'a1'.repeat(32)}`

test.each([
  'ubuntu',
  'nginx:1.25',
  'library/nginx',
  'registry:5000/app',
  'registry.example:5000/team/sub/app:2.0',
  'localhost/app',
  '127.0.0.1:5000/app:v1',
  '[fd00::1]:5000/app',
  `app@${digest}`,
  `registry:5000/app:1@${digest}`,
  'a__b',
  'a--b.c_d',
  'app:UPPER_Tag.1-2',
  `app@sha512:${'b'.repeat(128)}`,
])('%s is an image reference', (text) => {
  expect(isImageReference(text)).toBe(true)
})

test.each([
  '',
  'UPPER',
  'app:',
  'app::1',
  'app:-tag',
  '-app',
  'app-',
  'a..b',
  'app@',
  'app@sha256:abc',
  `app@sha256:${'A1'.repeat(32)}`,
  `app@md5:${'a'.repeat(32)}`,
  'http://registry/app',
  'registry:port/app',
  '/app',
  'app/',
  'a//b',
  'white space',
  'a:b:c',
  'ünicode',
  `app:${'t'.repeat(129)}`,
  'a'.repeat(256),
  'f'.repeat(64),
])('%s is no image reference', (text) => {
  expect(isImageReference(text)).toBe(false)
})

test('a hostile text is refused at once', () => {
  const startedMs = performance.now()
  expect(isImageReference(`${'a_'.repeat(290)}!`)).toBe(false)
  expect(isImageReference(`${'a-'.repeat(290)}!`)).toBe(false)
  expect(isImageReference('a'.repeat(1_000_000))).toBe(false)
  expect(performance.now() - startedMs).toBeLessThan(500)
})
