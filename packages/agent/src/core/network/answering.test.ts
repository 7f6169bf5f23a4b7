import { describe, expect, it } from 'vitest'
import type { ResourceId } from '@moot/crdt-state'
import { answerName, type AskedType, type NameAnswer } from './answering.ts'
import { NameIndex } from './name-index.ts'
import type { NameTable } from './name-table.ts'

const front = 'front' as ResourceId
const back = 'back' as ResourceId
const secret = 'secret' as ResourceId
const vip = { addresses: ['10.128.0.2'], local: 0 }
const tasks = { addresses: ['10.128.0.17', '10.128.0.18', '10.128.0.33', '10.128.0.34'], local: 2 }

const table: NameTable = {
  networks: [
    {
      id: front,
      subnet: '10.128.0.0/18',
      isInternal: false,
      names: {
        web: vip,
        'web.shop': vip,
        'tasks.web': tasks,
        nobody: { addresses: [], local: 0 },
        'web.1.x7': { addresses: ['10.128.0.17'], local: 1 },
      },
      reverse: { '10.128.0.17': 'web.1.x7', '10.128.0.2': 'web' },
    },
    {
      id: back,
      subnet: '10.128.64.0/18',
      isInternal: false,
      names: { web: { addresses: ['10.128.64.2'], local: 0 }, db: { addresses: ['10.128.64.3'], local: 0 } },
      reverse: { '10.128.64.3': 'db' },
    },
    {
      id: secret,
      subnet: '10.200.0.0/24',
      isInternal: true,
      names: { safe: { addresses: ['10.200.0.2'], local: 0 } },
      reverse: {},
    },
  ],
  clients: [
    {
      addresses: ['10.128.0.17', '10.128.64.17'],
      networks: [back, front],
      nameservers: ['192.0.2.53'],
    },
    { addresses: ['10.200.0.17'], networks: [secret], nameservers: ['192.0.2.53'] },
    { addresses: ['10.200.0.18', '10.128.0.20'], networks: [secret, front], nameservers: [] },
  ],
}
const index = NameIndex.of(table)

function ask(from: string, name: string, type: AskedType = 'A', random = () => 0.99): NameAnswer | undefined {
  const asker = index.askerAt(from)
  return asker && answerName(index, asker, { name, type }, random)
}

/** On the front network only, and not known by its address. */
const stranger = '10.128.0.99'

describe('who asks', () => {
  it('of several networks the first in its own order that knows a name answers', () => {
    expect(ask('10.128.0.17', 'web')).toEqual({ kind: 'addresses', addresses: ['10.128.64.2'] })
    expect(ask('10.128.64.17', 'web.shop')).toEqual({ kind: 'addresses', addresses: ['10.128.0.2'] })
  })

  it('whoever is not known by its address is known by its subnet', () => {
    expect(ask(stranger, 'web')).toEqual({ kind: 'addresses', addresses: ['10.128.0.2'] })
    expect(ask('10.128.127.255', 'db')).toEqual({ kind: 'addresses', addresses: ['10.128.64.3'] })
  })

  it.each(['10.127.255.255', '10.128.128.0', '192.168.1.1', '127.0.0.1', '::1', ''])(
    'whoever is on no network (%s) is nobody',
    (address) => expect(index.askerAt(address)).toBeUndefined(),
  )

  it('a name of a network that the asker is not on is no name of ours', () => {
    expect(ask(stranger, 'db')).toEqual({ kind: 'forward', nameservers: [] })
    expect(ask(stranger, 'db.moot.internal')).toEqual({ kind: 'unknown', zone: 'moot.internal' })
  })

  it('whoever is on internal networks alone asks the world for nothing', () => {
    expect(ask('10.200.0.17', 'safe')).toMatchObject({ kind: 'addresses' })
    expect(ask('10.200.0.17', 'leak.example.com')).toEqual({ kind: 'refused' })
    expect(ask('10.200.0.17', '8.8.8.8.in-addr.arpa', 'PTR')).toEqual({ kind: 'refused' })
    expect(ask('10.200.0.18', 'example.com')).toEqual({ kind: 'forward', nameservers: [] })
  })
})

describe('names', () => {
  it.each([
    'web',
    'WEB',
    'web.',
    'web.moot.internal',
    'Web.Moot.Internal.',
    'web.shop',
    'web.shop.moot.internal',
  ])('%s is the service', (name) =>
    expect(ask(stranger, name)).toEqual({ kind: 'addresses', addresses: ['10.128.0.2'] }),
  )

  it('this node’s own come first, and each in turn', () => {
    const firsts = new Set<string>()
    for (let draw = 0; draw < 1; draw += 0.05) {
      const answer = ask(stranger, 'tasks.web', 'A', () => draw)
      const addresses = answer?.kind === 'addresses' ? answer.addresses : []
      expect(addresses.slice(0, 2).toSorted()).toEqual(['10.128.0.17', '10.128.0.18'])
      expect(addresses.slice(2).toSorted()).toEqual(['10.128.0.33', '10.128.0.34'])
      firsts.add(addresses.join())
    }
    expect(firsts.size).toBeGreaterThan(1)
  })

  it('of another type a name of ours has nothing; a service without ready tasks neither', () => {
    expect(ask(stranger, 'web', 'other')).toEqual({ kind: 'empty', zone: 'web' })
    expect(ask(stranger, 'web.moot.internal', 'PTR')).toEqual({ kind: 'empty', zone: 'moot.internal' })
    expect(ask(stranger, 'nobody')).toEqual({ kind: 'empty', zone: 'nobody' })
  })

  it('anything: the addresses', () => {
    expect(ask(stranger, 'web', 'ANY')).toEqual({ kind: 'addresses', addresses: ['10.128.0.2'] })
  })

  it('the domain itself is there, and so is what names of ours end with', () => {
    expect(ask(stranger, 'moot.internal', 'SOA')).toEqual({ kind: 'authority', zone: 'moot.internal' })
    expect(ask(stranger, 'moot.internal')).toEqual({ kind: 'empty', zone: 'moot.internal' })
    expect(ask(stranger, 'shop.moot.internal')).toEqual({ kind: 'empty', zone: 'moot.internal' })
    expect(ask(stranger, 'shops.moot.internal')).toEqual({ kind: 'unknown', zone: 'moot.internal' })
    expect(ask(stranger, 'eb.moot.internal')).toEqual({ kind: 'unknown', zone: 'moot.internal' })
    expect(ask(stranger, 'notmoot.internal')).toEqual({ kind: 'forward', nameservers: [] })
  })

  it('all others go to the asker’s own name servers', () => {
    expect(ask('10.128.0.17', 'example.com')).toEqual({ kind: 'forward', nameservers: ['192.0.2.53'] })
  })
})

describe('addresses', () => {
  it('of tasks and virtual IPs have names, in full', () => {
    expect(ask(stranger, '17.0.128.10.in-addr.arpa', 'PTR')).toEqual({
      kind: 'pointer',
      name: 'web.1.x7.moot.internal',
    })
    expect(ask(stranger, '2.0.128.10.IN-ADDR.ARPA.', 'PTR')).toMatchObject({ name: 'web.moot.internal' })
    expect(ask(stranger, '2.0.128.10.in-addr.arpa', 'A')).toEqual({
      kind: 'empty',
      zone: '0.128.10.in-addr.arpa',
    })
  })

  it('of the cluster’s networks are passed on to nobody, whoever asks', () => {
    const unknown = { kind: 'unknown', zone: '0.128.10.in-addr.arpa' }
    expect(ask(stranger, '40.0.128.10.in-addr.arpa', 'PTR')).toEqual(unknown)
    expect(ask(stranger, '3.64.128.10.in-addr.arpa', 'PTR')).toMatchObject({ kind: 'unknown' })
  })

  it.each(['8.8.8.8', '1.2.3', '1.2.3.4.5', '256.0.128.10', '01.0.128.10', 'x.0.128.10'])(
    '%s.in-addr.arpa is the world’s',
    (name) => expect(ask(stranger, `${name}.in-addr.arpa`, 'PTR')).toMatchObject({ kind: 'forward' }),
  )
})
