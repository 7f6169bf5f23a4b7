import { expect, test } from 'vitest'
import { pullQuery } from './images.ts'

test.each([
  ['nginx', 'nginx', 'latest'],
  ['nginx:1.27', 'nginx', '1.27'],
  ['example.test:5000/a/b', 'example.test:5000/a/b', 'latest'],
  ['example.test:5000/a/b:2', 'example.test:5000/a/b', '2'],
  ['nginx@sha256:ab', 'nginx', 'sha256:ab'],
  ['nginx:1.27@sha256:ab', 'nginx', 'sha256:ab'],
])('pulling %s asks for one tag or digest, never for all', (image, fromImage, tag) => {
  expect(pullQuery(image)).toEqual({ fromImage, tag })
})
