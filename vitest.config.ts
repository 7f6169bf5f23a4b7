import { defineConfig } from 'vitest/config'

const virtual = [
  'packages/crdt-state/src/**/*.test.ts',
  'packages/agent/src/core/**/*.test.ts',
  'test/sim/**/*.test.ts',
]

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
          include: ['packages/*/src/**/*.test.ts', 'test/{tidy,conformance,contract}/**/*.test.ts'],
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
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          sequence: { concurrent: false, groupOrder: 2 },
        },
      },
    ],
  },
})
