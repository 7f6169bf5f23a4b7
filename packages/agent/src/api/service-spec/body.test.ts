import { expect, test } from 'vitest'
import type { View } from '../../core/view.ts'
import { readServiceSpec } from './body.ts'

const view = {
  services: new Map(),
  networks: new Map([['back', { id: 'back', name: 'back', spec: {} }]]),
} as unknown as View

test('what cannot hold on a network over hosts is warned of', () => {
  const warningsOf = (Networks: readonly object[]): readonly string[] =>
    readServiceSpec(
      {
        Name: 'api',
        TaskTemplate: {
          ContainerSpec: { Image: 'api', DNSConfig: { Options: ['timeout:1', 'ndots:2'] } },
          Networks,
        },
      },
      view,
      { name: () => '', maxReplicas: 100, ability: 'kernel' },
    ).warnings
  expect(warningsOf([{ Target: 'back' }])).toEqual([expect.stringContaining('"ndots:2" is set aside')])
  expect(warningsOf([{ Target: 'bridge' }])).toEqual([])
})
