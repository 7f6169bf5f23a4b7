import { describe, expect, it } from 'vitest'
import { gatewayWitness } from '../../packages/agent/src/adapters/gateway.ts'
import { realClock } from '../../packages/agent/src/adapters/clock.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { memoryClock } from '../../packages/agent/src/ports/clock.memory.ts'
import { memoryWitness } from '../../packages/agent/src/ports/witness.memory.ts'
import type { Witness } from '../../packages/agent/src/ports/witness.ts'

interface WitnessBed {
  readonly witness: Witness
  /** Pulls the cable. */
  cut(): void
  during<T>(work: Promise<T>): Promise<T>
}

function memoryBed(): WitnessBed {
  const clock = memoryClock()
  let isCut = false
  return {
    witness: memoryWitness(clock, () => (isCut ? 'silent' : 'answered')),
    cut() {
      isCut = true
    },
    async during(work) {
      await clock.advance(2 * defaults.witnessTimeoutMs)
      return work
    },
  }
}

/** The real one, whose gateway is this host's loopback: its kernel accepts or refuses, which both are answers. */
function gatewayBed(): WitnessBed {
  let carrier = '1\n'
  const route = 'lo\t00000000\t0100007F\t0003\t0\t0\t0\t00000000\t0\t0\t0\n'
  return {
    witness: gatewayWitness({
      clock: realClock(),
      settings: defaults,
      read: (path) => Promise.resolve(path === '/proc/net/route' ? `Iface\n${route}` : carrier),
    }),
    cut() {
      carrier = '0\n'
    },
    during: (work) => work,
  }
}

describe.each([
  ['in memory', memoryBed],
  ['the default gateway', gatewayBed],
])('a witness: %s', (_, bedOf) => {
  it('answers while there is a way to it, and is silent when there is none', async () => {
    const bed = bedOf()
    const ask = () => bed.during(bed.witness.ask(defaults.witnessTimeoutMs))
    expect(await ask()).toBe('answered')
    bed.cut()
    expect(await ask()).toBe('silent')
  })

  it('can be started and stopped, and is asked all the same', async () => {
    const bed = bedOf()
    bed.witness.start()
    expect(await bed.during(bed.witness.ask(defaults.witnessTimeoutMs))).toBe('answered')
    bed.witness.stop()
    expect(await bed.during(bed.witness.ask(defaults.witnessTimeoutMs))).toBe('answered')
  })
})
