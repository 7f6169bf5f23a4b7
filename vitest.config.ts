import { defineConfig } from 'vitest/config'

const virtual = [
  'packages/crdt-state/src/**/*.test.ts',
  'packages/agent/src/core/**/*.test.ts',
  'test/sim/**/*.test.ts',
]

/** Of what e2e tests are made with, and the examples' programs: they need no engine. */
const ofTools = ['test/e2e/load.test.ts', 'test/e2e/guestbook-server.test.ts']

/** The README's two commands: first of the slow ones, and by itself. */
const makeUp = 'test/e2e/make-up.test.ts'

export default defineConfig({
  test: {
    projects: [
      {
        // No clock but a virtual one: as many at once as there are processors, and whatever else is slow meanwhile.
        test: {
          name: 'unit-virtual',
          include: virtual,
          testTimeout: 60_000,
          maxWorkers: '100%',
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Real sockets, disks and time limits: one file at a time.
        test: {
          name: 'unit-real',
          include: [
            'packages/*/src/**/*.test.ts',
            'test/{tidy,conformance,contract}/**/*.test.ts',
            ...ofTools,
          ],
          exclude: virtual,
          testTimeout: 30_000,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: [...ofTools, makeUp],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          sequence: { concurrent: false, groupOrder: 2 },
        },
      },
      {
        test: {
          name: 'make-up',
          include: [makeUp],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          sequence: { groupOrder: 3 },
        },
      },
      {
        // In `make soak`: `make test` has no time for it.
        test: {
          name: 'soak',
          include: ['test/soak/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          sequence: { concurrent: false, groupOrder: 4 },
        },
      },
    ],
  },
})
