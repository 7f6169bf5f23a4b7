import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { play } from './transcript.ts'

const directory = join(import.meta.dirname, 'transcripts')

/** Read them: they are what a person should find sensible. `vitest run --project unit-virtual test/sim/transcripts -u` writes them anew. */
describe('the story of', () => {
  test.each(readdirSync(directory))('%s', async (file) => {
    const path = join(directory, file)
    await expect(await play(readFileSync(path, 'utf8'))).toMatchFileSnapshot(path)
  })
})
