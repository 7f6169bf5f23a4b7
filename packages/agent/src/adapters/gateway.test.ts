import { describe, expect, it } from 'vitest'
import { defaults } from '../defaults.ts'
import { memoryClock } from '../ports/clock.memory.ts'
import { defaultGateway, gatewayWitness } from './gateway.ts'

const header = 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT'
const route = (name: string, destination: string, gateway: string, metric: number): string =>
  `${name}\t${destination}\t${gateway}\t0003\t0\t0\t${metric}\t00000000\t0\t0\t0`
const table = (...routes: readonly string[]): string => `${[header, ...routes].join('\n')}\n`

/** A host with these files; what its gateway does can be changed. */
function host(files: Record<string, string>) {
  const gateway = { answers: true, asked: [] as string[] }
  const read = (path: string): Promise<string> => {
    const text = files[path]
    return text === undefined ? Promise.reject(new Error(`ENOENT: ${path}`)) : Promise.resolve(text)
  }
  const clock = memoryClock()
  const witness = gatewayWitness({
    clock,
    settings: defaults,
    read,
    knock: (address) => {
      gateway.asked.push(address)
      return Promise.resolve(gateway.answers)
    },
  })
  return { files, gateway, witness, clock }
}
const routes = '/proc/net/route'
const carrier = '/sys/class/net/eth0/carrier'

describe('the default gateway', () => {
  it('is the default route with the least metric', async () => {
    const read = (): Promise<string> =>
      Promise.resolve(
        table(
          route('eth0', '0063630A', '00000000', 0),
          route('wlan0', '00000000', '0101A8C0', 600),
          route('eth0', '00000000', 'FE00630A', 100),
        ),
      )
    expect(await defaultGateway(read)).toEqual({ address: '10.99.0.254', networkInterface: 'eth0' })
  })

  it.each([
    ['the kernel tells of none', () => Promise.reject(new Error('no such file'))],
    ['there is no default route', () => Promise.resolve(table(route('eth0', '0063630A', '00000000', 0)))],
    ['the file is empty', () => Promise.resolve('')],
  ])('is unknown where %s', async (_, read) => {
    expect(await defaultGateway(read)).toBeUndefined()
  })
})

describe('the gateway as a witness', () => {
  const files = { [routes]: table(route('eth0', '00000000', 'FE00630A', 100)), [carrier]: '1\n' }

  it('answers, and its silence counts from then on', async () => {
    const { gateway, witness } = host(files)
    expect(await witness.ask(100)).toBe('answered')
    gateway.answers = false
    expect(await witness.ask(100)).toBe('silent')
    expect(gateway.asked).toEqual(['10.99.0.254', '10.99.0.254'])
  })

  it('that has never answered says nothing', async () => {
    const { gateway, witness } = host(files)
    gateway.answers = false
    expect(await witness.ask(100)).toBe('unknown')
  })

  it('is learnt of in quiet times', async () => {
    const { gateway, witness, clock } = host(files)
    gateway.answers = false
    witness.start()
    await clock.advance(defaults.witnessLearnIntervalMs / 2)
    gateway.answers = true
    await clock.advance(defaults.witnessLearnIntervalMs)
    gateway.answers = false
    expect(await witness.ask(100)).toBe('silent')
    witness.stop()
    expect(clock.pending()).toBe(0)
  })

  it('need not be asked where the cable has no carrier', async () => {
    const { gateway, witness } = host({ ...files, [carrier]: '0\n' })
    expect(await witness.ask(100)).toBe('silent')
    expect(gateway.asked).toEqual([])
  })

  it('is silent when its route went with the carrier', async () => {
    const { files: present, gateway, witness } = host({ ...files })
    await witness.ask(100)
    present[routes] = table()
    gateway.answers = false
    expect(await witness.ask(100)).toBe('silent')
  })

  it('that is another one now has to answer first', async () => {
    const { files: present, gateway, witness } = host({ ...files })
    await witness.ask(100)
    present[routes] = table(route('eth0', '00000000', '0101A8C0', 100))
    gateway.answers = false
    expect(await witness.ask(100)).toBe('unknown')
  })

  it('is unknown to a host without one', async () => {
    expect(await host({}).witness.ask(100)).toBe('unknown')
  })
})
