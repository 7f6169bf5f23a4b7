import { defineConfig } from 'vitest/config'

const virtual = [
  'packages/crdt-state/src/**/*.test.ts',
  'packages/agent/src/core/**/*.test.ts',
  'test/sim/**/*.test.ts',
]

/** They replace functions of the product: what they load is nobody else's. */
const replacing = ['test/sim/checkers.test.ts', 'test/sim/exclusive-checkers.test.ts']

/** Of what e2e tests are made with, and the examples' programs: they need no engine. */
const ofTools = ['test/e2e/load.test.ts', 'test/e2e/guestbook-server.test.ts']

/** The README's two commands: first of the slow ones, and by itself. */
const makeUp = 'test/e2e/make-up.test.ts'

/** Unit tests share their modules, which keep nothing but caches of immutable values: to load them 200 times took 90 s. */
export default defineConfig({
  test: {
    projects: [
      {
        // No clock but a virtual one: as many at once as there are processors, and whatever else is slow meanwhile.
        test: {
          name: 'unit-virtual',
          include: virtual,
          exclude: replacing,
          isolate: false,
          testTimeout: 60_000,
          maxWorkers: '100%',
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'unit-replacing',
          include: replacing,
          testTimeout: 60_000,
          maxWorkers: '100%',
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Real sockets, disks and time limits: they wait more than they work, so as many at once as there are processors.
        test: {
          name: 'unit-real',
          include: [
            'packages/*/src/**/*.test.ts',
            'test/{tidy,conformance,contract}/**/*.test.ts',
            ...ofTools,
          ],
          exclude: virtual,
          isolate: false,
          testTimeout: 30_000,
          // A program that has to start first may need more than the second that is usual, on a busy machine.
          expect: { poll: { timeout: 20_000 } },
          maxWorkers: '100%',
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
