import { describe, expect, test } from 'vitest'
import { KernelRefusedError } from '../../ports/data-plane.errors.ts'
import { noVxlan } from './ability.ts'

/** An `ip` that refuses to make a tunnel, in these words. */
function refusing(words: string) {
  const ran: string[] = []
  return {
    ran,
    async run(program: string, args: readonly string[], to: string): Promise<string> {
      ran.push(args.slice(0, 3).join(' '))
      if (args[1] === 'add') throw new KernelRefusedError(program, to, words)
      return ''
    },
  }
}

describe('whether a kernel makes VXLAN tunnels', () => {
  test.each([
    'RTNETLINK answers: File exists',
    'Error: A VXLAN device with the specified VNI already exists.',
  ])(
    'one that is in the way says that it does, and what is left of an earlier attempt is removed: %s',
    async (words) => {
      const calls = refusing(words)
      expect(await noVxlan(calls)).toBeUndefined()
      expect(calls.ran).toEqual(['link add moot-try', 'link del moot-try'])
    },
  )

  test('one that does not says why', async () => {
    expect(await noVxlan(refusing('RTNETLINK answers: Operation not supported'))).toContain('not supported')
  })
})
