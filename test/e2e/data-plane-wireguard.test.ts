import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { NodeId, WireGuardEnd } from '@moot/crdt-state'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { withKey } from '../../packages/agent/src/core/network/key-rounds.ts'
import type { Frontend, Plane } from '../../packages/agent/src/core/network/plane.ts'
import { sealOf } from '../../packages/agent/src/core/network/seals.ts'
import {
  clientAddress,
  containers,
  planeOf,
  publishedFrontend,
  servedPort,
  underlayOf,
  virtualAddress,
  virtualFrontend,
} from '../conformance/data-plane.setup.ts'
import { namespaceBed, type NamespaceBed } from './data-plane.bed.ts'
import { expectFlawless, lostBy } from './data-plane.losses.ts'

const { signal } = new AbortController()
const { web1, web2 } = containers
const vip = virtualAddress('web', 5)
const all = [1, 2, 3]

describe('the tunnel through WireGuard', () => {
  let bed: NamespaceBed
  /** What each host's record says; none: it has no WireGuard. */
  const ends = new Map<number, WireGuardEnd>()
  beforeAll(async () => {
    bed = await namespaceBed()
  })
  afterAll(() => bed?.close())
  beforeEach(async () => {
    ends.clear()
    for (const host of all) await bed.dataPlane(host).clear(signal)
  })

  function plane(host: number, frontends: readonly Frontend[]): Plane {
    const own = ends.get(host)
    const open = planeOf(host, frontends)
    const peers = open.peers.map((peer) => {
      const seal = sealOf(own, ends.get(hostOf(peer.node)))
      return { ...peer, ...(seal !== undefined && { seal }) }
    })
    return { ...open, self: { ...open.self, ...(own !== undefined && { keys: own.keys }) }, peers }
  }
  const applyAt = (host: number, frontends: readonly Frontend[] = []): Promise<void> =>
    bed.dataPlane(host).apply(plane(host, frontends), signal)
  const apply = async (frontends: readonly Frontend[] = []): Promise<void> => {
    for (const host of all) await applyAt(host, frontends)
  }

  /** A new key is made, and the host's kernel stands for it before anybody hears of it. */
  async function makeKey(host: number, round: number, frontends?: readonly Frontend[]): Promise<void> {
    const made = bed.wireGuardKeys(host).make(round, randomBytes(32).toString('hex'), Date.now())
    const { keys = [], uses } = ends.get(host) ?? {}
    const aged = keys.map((key) => ({ ...key, ageMs: 0 }))
    const next = withKey({ keys: aged, uses }, { round, key: made.key, ageMs: 0 })
    const said = next.keys.map((key) => ({ round: key.round, key: key.key }))
    ends.set(host, { keys: said, ...(next.uses !== undefined && { uses: next.uses }) })
    await applyAt(host, frontends)
  }
  /** Others hear of it when the host's own kernel stands for it. */
  async function say(host: number, end: WireGuardEnd, frontends?: readonly Frontend[]): Promise<void> {
    ends.set(host, end)
    await applyAt(host, frontends)
    await apply(frontends)
  }
  /** As agents do it (core/network/key-rounds.ts), one host after the other. */
  async function changeKeys(
    hosts: readonly number[],
    round: number,
    frontends?: readonly Frontend[],
  ): Promise<void> {
    for (const host of hosts) await makeKey(host, round, frontends)
    await apply(frontends)
    for (const host of hosts) {
      await say(host, { ...ends.get(host)!, uses: round }, frontends)
    }
    for (const host of hosts) {
      const end = ends.get(host)!
      await say(host, { ...end, keys: end.keys.filter((key) => key.round === round) }, frontends)
    }
  }

  const asked = (from: 'web1' | 'web2', to: string): ReturnType<NamespaceBed['ask']> =>
    bed.ask(from, to, servedPort, 'tcp', 10_000)

  it('nothing can be read on the way between hosts, which without it can', async () => {
    await apply()
    const open = await captured(bed, () => asked('web1', web2.address))
    expect(open.answer).toMatchObject({ by: 'web2' })
    expect(open.bytes.includes(`web2 ${web1.address}`)).toBe(true)
    expect(datagramsTo(open.bytes, 7_422)).toBeGreaterThan(0)

    await changeKeys(all, 0)
    const sealed = await captured(bed, async () => {
      await asked('web2', web1.address)
      return asked('web1', web2.address)
    })
    expect(sealed.answer).toEqual({ kind: 'answered', by: 'web2', sees: web1.address })
    expect(sealed.bytes.includes('web1')).toBe(false)
    expect(sealed.bytes.includes('web2')).toBe(false)
    expect(datagramsTo(sealed.bytes, 7_422)).toBe(0)
    expect(datagramsTo(sealed.bytes, 7_423)).toBeGreaterThan(4)
  })

  it('a host without it is reached all the same, and large transfers fit, though nobody hears of ICMP', async () => {
    const frontends = [publishedFrontend(8_080, [web2])]
    await changeKeys([1, 2], 0, frontends)
    for (const end of ['client', 'web1', 'web2']) {
      await bed.within(end, 'nft', 'add table ip deaf')
      await bed.within(end, 'nft', 'add chain ip deaf input { type filter hook input priority 0; }')
      await bed.within(end, 'nft', 'add rule ip deaf input icmp type destination-unreachable drop')
    }
    const bytes = 1_000_000
    for (const [from, to, port, sees] of [
      ['client', underlayOf(1), 8_080, clientAddress],
      ['client', underlayOf(3), 8_080, clientAddress],
      ['web1', web2.address, servedPort, web1.address],
    ] as const) {
      const answer = await bed.order(from, { do: 'ask', protocol: 'tcp', to, port, bytes, timeoutMs: 20_000 })
      expect(answer).toBe(`web2 ${sees} ${bytes}`)
    }
    for (const end of ['client', 'web1', 'web2']) await bed.within(end, 'nft', 'delete table ip deaf')
  })

  it('encryption begins, and keys change, under load, without a lost packet', async () => {
    const frontends = [virtualFrontend('web', 5, [web2]), publishedFrontend(8_080, [web1, web2])]
    await apply(frontends)
    const before = [await lostBy(bed, 'client'), await lostBy(bed, 'neighbour1')]
    const outside = await bed.load('client', { to: underlayOf(3), port: 8_080, kept: 6, short: 1 })
    const inside = await bed.load('neighbour1', { to: vip, port: servedPort, kept: 6, short: 1 })
    for (const round of [0, 1, 2]) await changeKeys(all, round, frontends)
    expectFlawless(await outside.end())
    expectFlawless(await inside.end())
    expect([await lostBy(bed, 'client'), await lostBy(bed, 'neighbour1')]).toEqual(before)
    // One lane is left, and of it only the last keys.
    const peers = await bed.within('host1', 'wg', 'show', bed.wireGuardDevice(1, 0), 'peers')
    expect(peers.trim().split('\n').sort()).toEqual([2, 3].map((host) => ends.get(host)!.keys[0]!.key).sort())
    await expect(bed.within('host1', 'ip', 'link', 'show', bed.wireGuardDevice(1, 1))).rejects.toThrow(
      /does not exist/,
    )
  })

  it('an agent that is killed leaves its sessions, and the next one takes them over without a lost packet', async () => {
    const frontends = [virtualFrontend('web', 5, [web2])]
    await changeKeys(all, 0, frontends)
    expect(await asked('web1', web2.address)).toMatchObject({ by: 'web2' })
    const handshakes = async (): Promise<readonly string[]> => {
      const listed = await bed.within('host1', 'wg', 'show', bed.wireGuardDevice(1, 0), 'latest-handshakes')
      return listed.split('\n').sort()
    }
    const [since, before] = [await handshakes(), await lostBy(bed, 'neighbour1')]
    const load = await bed.load('neighbour1', { to: vip, port: servedPort, kept: 6, short: 1 })
    for (const host of [1, 2, 1]) {
      await bed.replaceAgent(host)
      await applyAt(host, frontends)
    }
    expectFlawless(await load.end())
    expect(await lostBy(bed, 'neighbour1')).toEqual(before)
    expect(await handshakes()).toEqual(since)
  })

  it('where it is gone nothing is sent in the open, and the next plane brings it back', async () => {
    await changeKeys(all, 0)
    expect(await asked('web1', web2.address)).toMatchObject({ by: 'web2' })
    const { answer, bytes } = await captured(bed, async () => {
      await bed.within('host1', 'ip', 'link', 'del', bed.wireGuardDevice(1, 0))
      return bed.ask('web1', web2.address, servedPort)
    })
    expect(answer).toEqual({ kind: 'unreachable' })
    expect(datagramsTo(bytes, 7_422)).toBe(0)
    await applyAt(1)
    expect(await asked('web1', web2.address)).toMatchObject({ by: 'web2' })
  })

  it('what comes in the open from the address of a host that encrypts is dropped', async () => {
    await changeKeys(all, 0)
    // Somebody with the second host's address, and none of its keys.
    await bed.dataPlane(2).apply(planeOf(2, []), signal)
    const { answer, bytes } = await captured(bed, () => bed.ask('web2', web1.address, servedPort))
    expect(answer).toEqual({ kind: 'unreachable' })
    expect(datagramsTo(bytes, 7_422)).toBeGreaterThan(0)
    expect(bytes.includes('web1')).toBe(false)
  })

  it('a host that has lost it says so, and is reached in the open', async () => {
    await changeKeys(all, 0)
    ends.delete(2)
    await apply()
    expect(await asked('web1', web2.address)).toMatchObject({ by: 'web2' })
    await expect(bed.within('host2', 'ip', 'link', 'show', bed.wireGuardDevice(2, 0))).rejects.toThrow(
      /does not exist/,
    )
  })

  it('WireGuard has the key of the file, and its port', async () => {
    await changeKeys([1], 0)
    const device = bed.wireGuardDevice(1, 0)
    expect((await bed.within('host1', 'wg', 'show', device, 'public-key')).trim()).toBe(
      ends.get(1)!.keys[0]!.key,
    )
    expect((await bed.within('host1', 'wg', 'show', device, 'listen-port')).trim()).toBe('7423')
  })
})

function hostOf(node: NodeId): number {
  return Number(node.slice('node'.length))
}

/** All that the switch saw meanwhile. */
async function captured<T>(
  bed: NamespaceBed,
  work: () => Promise<T>,
): Promise<{ readonly answer: T; readonly bytes: Buffer }> {
  const directory = mkdtempSync(join(tmpdir(), 'moot-capture-'))
  const file = join(directory, 'packets')
  const args = [
    `--net=/run/netns/${bed.namespace('switch')}`,
    'tcpdump',
    '--immediate-mode',
    '-i',
    'br0',
    '-s',
    '0',
    '-U',
    '-w',
    file,
  ]
  const tcpdump = spawn('nsenter', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  try {
    // It says what it listens on when it does.
    await once(tcpdump.stderr, 'data')
    const answer = await work()
    await sleep(200)
    tcpdump.kill('SIGINT')
    await once(tcpdump, 'exit')
    return { answer, bytes: readFileSync(file) }
  } finally {
    tcpdump.kill('SIGKILL')
    rmSync(directory, { recursive: true })
  }
}

/** Of IPv4, among frames of Ethernet in a file of tcpdump's. */
function datagramsTo(capture: Buffer, port: number): number {
  let count = 0
  for (let at = 24; at + 16 <= capture.length;) {
    const length = capture.readUInt32LE(at + 8)
    const frame = capture.subarray(at + 16, at + 16 + length)
    const isUdp = frame.readUInt16BE(12) === 0x0800 && frame[23] === 17
    if (isUdp && frame.readUInt16BE(14 + (frame[14]! & 15) * 4 + 2) === port) count++
    at += 16 + length
  }
  return count
}
