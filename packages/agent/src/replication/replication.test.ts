import { getEventListeners } from 'node:events'
import { memoryStorage, type NodeId, openRecordStore, resourceId } from '@moot/crdt-state'
import { afterEach, describe, expect, it } from 'vitest'
import { defaults } from '../defaults.ts'
import { encode } from './wire.ts'
import { author, clusterId, statusChange, type TestCluster, testCluster } from './testing.ts'

let cluster: TestCluster
afterEach(() => cluster.stop())

const config = (name: string, text = 'x') => ({
  Name: name,
  Labels: {},
  Data: Buffer.from(text).toString('base64'),
})

/** Creates a config on a node and spreads it, as the agent does. */
async function create(index: number, name: string, text?: string): Promise<NodeId | undefined> {
  const { specs, replication } = cluster.node(index)
  const written = await specs.create('config', name, config(name, text), author)
  return replication.commit(written.messages)
}

/** Something that takes virtual time: lets it pass until the promise is settled. */
async function during<T>(promise: Promise<T>, boundMs = 10_000): Promise<{ value: T; tookMs: number }> {
  let settled = false
  const watched = promise.finally(() => {
    settled = true
  })
  const tookMs = await cluster.until(() => settled, boundMs, 5)
  return { value: await watched, tookMs }
}

function sameEverywhere(): boolean {
  const roots = cluster.ids.map((_, index) => cluster.node(index).specs.digest().root)
  const records = cluster.ids.map((_, index) =>
    JSON.stringify([...cluster.node(index).records.digest()].sort(([a], [b]) => (a < b ? -1 : 1))),
  )
  return new Set(roots).size === 1 && new Set(records).size === 1
}
const names = (index: number): string[] =>
  [...cluster.node(index).specs.all('config').values()].map(({ name }) => name).sort()

/** So that counting requests and waiting for silence is not disturbed by probes' alerts and comparisons. */
const quiet = { antiEntropyIntervalMs: 1_000_000_000 }

describe('a peer that connects', () => {
  it('and answers only a little later is asked again soon, not at the next comparison', async () => {
    cluster = await testCluster({ count: 2, settings: quiet })
    await cluster.advance(1_000)
    await cluster.node(1).crash()
    await cluster.advance(1_000)
    await cluster.boot(1, { servesAfterMs: 300 })
    await cluster.advance(200)
    expect(cluster.node(0).replication.syncedWith()).toBe(0)
    await cluster.until(() => cluster.node(0).replication.syncedWith() === 1, 1_000)
  })
})

describe('spreading', () => {
  it('a write reaches all five by gossip, long before they compare', async () => {
    cluster = await testCluster({ count: 5, settings: quiet })
    await cluster.advance(1_000)
    const { tookMs } = await during(create(2, 'web'))
    expect(tookMs).toBeLessThanOrEqual(20)
    await cluster.advance(10)
    for (const index of cluster.ids.keys()) expect(names(index)).toEqual(['web'])
  })

  it('five nodes that lose three messages in ten converge', async () => {
    for (const seed of [1, 2, 3]) {
      cluster = await testCluster({ count: 5, seed })
      cluster.network.drop(0.3, cluster.random)
      for (let round = 0; round < 10; round++) {
        await during(create(round % 5, `config-${round}`))
        await cluster.node(round % 5).write(statusChange(`round ${round}`))
        await cluster.advance(50)
      }
      // What is lost is found by comparing: with loss the alerts of unlucky probes go on, so it is stopped to be still.
      await cluster.until(() => cluster.ids.every((_, index) => names(index).length === 10), 60_000, 200)
      cluster.network.drop(0, cluster.random)
      await cluster.until(sameEverywhere, 60_000, 200)
      expect(names(0)).toHaveLength(10)
      await cluster.stop()
    }
  })

  it('with gossip off, comparing alone converges five nodes', async () => {
    cluster = await testCluster({ count: 5, gossip: false })
    for (let round = 0; round < 5; round++) {
      await during(create(round, `config-${round}`))
      await cluster.node(round).write(statusChange(`round ${round}`))
    }
    await cluster.until(sameEverywhere, 30_000, 100)
    for (const index of cluster.ids.keys()) {
      expect(names(index)).toHaveLength(5)
      expect(cluster.node(index).records.all().get(cluster.node(3).id)?.status?.hostname).toBe('round 3')
    }
  })

  it('both sides of a partition write; healed, all hold everything', async () => {
    cluster = await testCluster({ count: 5 })
    await during(create(0, 'before'))
    await cluster.advance(1_000)
    const [a, b, c, d, e] = cluster.ids as [NodeId, NodeId, NodeId, NodeId, NodeId]
    cluster.network.partition([
      [a, b],
      [c, d, e],
    ])
    const id = cluster.node(0).specs.byName('config', 'before')?.id
    expect(id).toBeDefined()
    await during(create(0, 'left'))
    await during(create(1, 'same', 'both'))
    await during(create(3, 'right'))
    await during(create(4, 'same', 'both'))
    const left = cluster.node(1).specs
    const before = left.byName('config', 'before')
    const edited = await left.update(
      'config',
      before?.id as never,
      before?.versionIndex ?? 0,
      { ...config('before'), Labels: { side: 'left' } },
      author,
    )
    await during(cluster.node(1).replication.commit(edited.messages))
    const removed = await cluster.node(2).specs.remove('config', id as never, author)
    await during(cluster.node(2).replication.commit(removed))
    await cluster.advance(10_000)
    expect(sameEverywhere()).toBe(false)
    cluster.network.heal()
    cluster.network.delay(() => 1)
    await cluster.until(sameEverywhere, 20_000, 50)
    for (const index of cluster.ids.keys()) expect(names(index)).toEqual(['left', 'right', 'same'])
  })

  it('a message too large for gossip is fetched by those who are told of it', async () => {
    cluster = await testCluster({ count: 3, settings: { ...quiet, gossipMaxBytes: 2_000 } })
    await cluster.advance(1_000)
    await during(create(0, 'large', 'x'.repeat(20_000)))
    await cluster.node(0).write(statusChange('h'.repeat(20_000)))
    await cluster.until(sameEverywhere, 1_000)
    expect(names(2)).toEqual(['large'])
    expect(cluster.node(0).replication.counters().gossipBytesOut).toBeLessThan(10_000)
  })
})

describe('telling everybody', () => {
  const never = new AbortController().signal
  /** Ends by itself, in virtual time. */
  async function told(): Promise<number> {
    let isTold = false
    void cluster
      .node(0)
      .replication.tellAll(never)
      .then(() => (isTold = true))
    return cluster.until(() => isTold, 2 * defaults.drainAckMaxMs, 10)
  }
  let written = 0
  async function write(): Promise<void> {
    const { records, replication } = cluster.node(0)
    const { value } = await during(records.write(statusChange(`host${(written += 1)}`)))
    replication.publishRecord(value)
  }

  it('takes as long as gossip does, and nothing where all know', async () => {
    cluster = await testCluster({ count: 5 })
    await cluster.advance(2_000)
    await write()
    expect(await told()).toBeLessThan(200)
    const all = cluster.ids.slice(1).map((_, index) =>
      cluster
        .node(index + 1)
        .records.all()
        .get(cluster.ids[0]!),
    )
    expect(new Set(all.map((record) => record?.seq))).toEqual(new Set([cluster.node(0).records.own.seq]))
    expect(await told()).toBe(0)
  })

  it('waits for one that does not answer for a bounded time', async () => {
    cluster = await testCluster({ count: 3 })
    await cluster.advance(2_000)
    cluster.network.partition([[cluster.ids[0]!, cluster.ids[1]!], [cluster.ids[2]!]])
    await write()
    expect(await told()).toBeGreaterThanOrEqual(defaults.drainAckMaxMs)
  })

  it('leaves nothing on the signal of whoever waits, which lives as long as the agent', async () => {
    cluster = await testCluster({ count: 2 })
    await cluster.advance(2_000)
    const life = new AbortController()
    const { replication } = cluster.node(0)
    await write()
    const waits = [1, 2, 3].map(() => replication.tellAll(life.signal))
    expect(getEventListeners(life.signal, 'abort')).toHaveLength(waits.length)
    await during(Promise.all(waits))
    expect(getEventListeners(life.signal, 'abort')).toEqual([])
  })

  it('is not waited for by one that has given up, before or meanwhile', async () => {
    cluster = await testCluster({ count: 2 })
    await cluster.advance(2_000)
    cluster.network.partition([[cluster.ids[0]!], [cluster.ids[1]!]])
    await write()
    const { replication } = cluster.node(0)
    const life = new AbortController()
    const meanwhile = replication.tellAll(life.signal)
    life.abort(new Error('the agent stops'))
    const before = replication.tellAll(life.signal)
    expect((await during(Promise.all([meanwhile, before]))).tookMs).toBe(0)
  })
})

describe('confirmation', () => {
  it('a lone node is done at once, without a confirmation', async () => {
    cluster = await testCluster({ count: 1 })
    const { value, tookMs } = await during(create(0, 'web'))
    expect(value).toBeUndefined()
    expect(tookMs).toBe(0)
  })

  it('what a peer confirmed is on its disk: the peer crashes at once and has it', async () => {
    cluster = await testCluster({ count: 2, gossip: false, settings: quiet })
    await cluster.advance(1_000)
    const { value } = await during(create(0, 'web'))
    expect(value).toBe(cluster.node(1).id)
    await cluster.node(1).crash()
    await cluster.boot(1)
    expect(names(1)).toEqual(['web'])
  })

  it('nothing is confirmed before it is on the disk: with every disk stuck the write is done after the bound', async () => {
    cluster = await testCluster({ count: 3, settings: quiet })
    await cluster.advance(1_000)
    const release = [1, 2].map((index) => cluster.node(index).storage.holdSync())
    const { value, tookMs } = await during(create(0, 'web'))
    expect(value).toBeUndefined()
    expect(tookMs).toBeGreaterThanOrEqual(2_000)
    expect(tookMs).toBeLessThan(2_100)
    for (const let_go of release) let_go()
    await cluster.advance(100)
    expect(names(1)).toEqual(['web'])
  })

  it('a second peer is asked when the first is slow', async () => {
    cluster = await testCluster({ count: 3, gossip: false, settings: quiet })
    await cluster.advance(1_000)
    const seen = new Set<NodeId | undefined>()
    for (const slow of [1, 2]) {
      const release = cluster.node(slow).storage.holdSync()
      const { value, tookMs } = await during(create(0, `config-${slow}`))
      expect(tookMs).toBeLessThan(400)
      seen.add(value)
      release()
      await cluster.advance(100)
    }
    expect(seen).toEqual(new Set([cluster.node(1).id, cluster.node(2).id]))
  })

  it('a peer that lacks the base fetches the document before it confirms', async () => {
    cluster = await testCluster({ count: 2, gossip: false, settings: quiet })
    await cluster.advance(1_000)
    const { specs, replication } = cluster.node(0)
    const { resource } = await specs.create('config', 'web', config('web'), author)
    const changed = { ...config('web'), Labels: { a: 'b' } }
    const written = await specs.update('config', resource.id, resource.versionIndex, changed, author)
    const { value } = await during(replication.commit(written.messages))
    expect(value).toBe(cluster.node(1).id)
    expect(cluster.node(1).specs.get('config', resource.id)?.spec.Labels).toEqual({ a: 'b' })
    expect(cluster.node(1).replication.counters().gaps).toBe(1)
  })

  it('an edit of what was removed meanwhile brings the removal back to its writer', async () => {
    cluster = await testCluster({ count: 2, gossip: false, settings: quiet })
    await cluster.advance(1_000)
    await during(create(0, 'web'))
    const id = resourceId('config', 'web', 1)
    await cluster.node(1).specs.remove('config', id, author)
    const { specs, replication } = cluster.node(0)
    const current = specs.get('config', id)
    const changed = { ...config('web'), Labels: { a: 'b' } }
    const written = await specs.update('config', id, current?.versionIndex ?? 0, changed, author)
    await during(replication.commit(written.messages))
    expect(names(0)).toEqual([])
    expect(specs.tombstone('config', 'web')?.incarnation).toBe(1)
  })
})

describe('comparing', () => {
  it('equal stores cost one small request', async () => {
    cluster = await testCluster({ count: 2, settings: quiet })
    for (let round = 0; round < 20; round++) await during(create(0, `config-${round}`))
    await cluster.until(sameEverywhere, 10_000)
    const { replication } = cluster.node(0)
    const before = replication.counters()
    await during(replication.syncNow(cluster.node(1).id))
    const after = replication.counters()
    expect(after.requestsOut - before.requestsOut).toBe(1)
    expect(after.requestBytesOut - before.requestBytesOut).toBeLessThan(250)
    expect(after.requestBytesIn - before.requestBytesIn).toBeLessThan(10)
  })

  it('a state much larger than a message goes in pages, both ways', async () => {
    cluster = await testCluster({ count: 2, gossip: false, settings: { ...quiet, maxMessageBytes: 20_000 } })
    await cluster.advance(1_000)
    for (const [index, side] of ['a', 'b'].entries()) {
      for (let round = 0; round < 60; round++) {
        const name = `${side}-${round}`
        await cluster.node(index).specs.create('config', name, config(name, 'y'.repeat(1_000)), author)
      }
    }
    await during(cluster.node(0).replication.syncNow(cluster.node(1).id))
    expect(names(0)).toHaveLength(120)
    expect(names(1)).toEqual(names(0))
  })

  it('a node that starts knows when it has compared itself with a peer', async () => {
    cluster = await testCluster({ count: 2 })
    const { replication } = cluster.node(1)
    await during(replication.firstSync(new AbortController().signal))
    expect(replication.synced()).toBe(true)
    expect(replication.syncedWith()).toBe(1)
    cluster.network.cut(cluster.node(0).id)
    await cluster.advance(10)
    expect(replication.syncedWith()).toBe(0)
  })

  it('waiting for a first comparison ends with its signal', async () => {
    cluster = await testCluster({ count: 1 })
    const controller = new AbortController()
    const waiting = cluster.node(0).replication.firstSync(controller.signal)
    const reason = new Error('enough')
    controller.abort(reason)
    await expect(waiting).rejects.toBe(reason)
  })

  it('a node that was away for long learns of removals and resurrects nothing', async () => {
    cluster = await testCluster({ count: 3 })
    await during(create(0, 'old'))
    await cluster.until(sameEverywhere, 10_000)
    await cluster.node(2).crash()
    const removed = await cluster.node(0).specs.remove('config', resourceId('config', 'old', 1), author)
    await during(cluster.node(0).replication.commit(removed))
    await cluster.boot(2)
    expect(names(2)).toEqual(['old'])
    await cluster.until(() => names(2).length === 0, 10_000)
    await cluster.advance(10_000)
    for (const index of [0, 1, 2]) expect(names(index)).toEqual([])
  })
})

describe('records', () => {
  it('changes within the batch time go out as one delta', async () => {
    cluster = await testCluster({ count: 2, settings: quiet })
    await cluster.advance(1_000)
    const before = cluster.node(0).replication.counters()
    for (let round = 0; round < 10; round++) await cluster.node(0).write(statusChange(`round ${round}`))
    await cluster.advance(100)
    const after = cluster.node(0).replication.counters()
    expect(after.gossipOut - before.gossipOut).toBe(1)
    const held = cluster.node(1).records.all().get(cluster.node(0).id)
    expect(held?.status?.hostname).toBe('round 9')
    expect(cluster.node(1).replication.counters().gaps).toBe(0)
  })

  it('a delta whose base was lost makes the receiver ask for the whole record', async () => {
    cluster = await testCluster({ count: 2, settings: quiet })
    await cluster.advance(1_000)
    // Written, and never gossiped.
    await cluster.node(0).records.write(statusChange('lost'))
    await cluster.node(0).write(statusChange('heard'))
    await cluster.advance(100)
    expect(cluster.node(1).records.all().get(cluster.node(0).id)?.status?.hostname).toBe('heard')
    expect(cluster.node(1).replication.counters().gaps).toBe(1)
  })

  it('the record of a node that is no member is refused, and not passed on', async () => {
    cluster = await testCluster({ count: 3, settings: quiet })
    await cluster.advance(1_000)
    const gone = cluster.node(1)
    const { specs, records, replication, id } = cluster.node(0)
    const whole = gone.records.whole(gone.id)
    // Node 0 knows of the removal first, and node 2 still spreads what the former member says.
    await specs.remove('node', specs.byName('node', gone.id)?.id as never, author)
    records.drop(gone.id)
    const before = replication.counters().refused
    await cluster.node(2).mesh.publish('records', encode({ records: [whole] }))
    await cluster.advance(10)
    expect(replication.counters().refused - before).toBe(1)
    const body = encode({ step: 'records', digest: [] })
    const { value } = await during(
      cluster.node(2).mesh.request(id, 'sync', body, new AbortController().signal),
    )
    const nodes = (JSON.parse(new TextDecoder().decode(value)) as { records: { node: string }[] }).records
    expect(nodes.map(({ node }) => node).sort()).toEqual([id, cluster.node(2).id].sort())
  })

  it('a second agent with the same key is noticed', async () => {
    cluster = await testCluster({ count: 2, settings: quiet })
    await cluster.advance(1_000)
    // Both disks remember the first epoch, as a disk and its clone do.
    await cluster.node(0).crash()
    await cluster.boot(0)
    await cluster.advance(1_000)
    const { identity, id, cloned } = cluster.node(0)
    const storage = memoryStorage()
    await openRecordStore({ storage, identity, clusterId })
    const twin = await openRecordStore({ storage, identity, clusterId })
    for (let round = 0; round < 5; round++) await twin.write(statusChange(`twin ${round}`))
    cluster.node(1).records.receive([twin.whole(id) as never])
    expect(cloned).toEqual([])
    await during(cluster.node(1).replication.syncNow(id))
    expect(cloned).toEqual([{ epoch: 2, seq: 5 }])
  })

  it('a farewell that is no genuine removal changes nothing', async () => {
    cluster = await testCluster({ count: 2, settings: quiet })
    await cluster.advance(1_000)
    const { specs, replication, id } = cluster.node(0)
    const from = cluster.node(1).id
    const root = specs.digest().root
    await replication.receiveFarewell(from, encode({ kind: 'node', name: id }))
    await replication.receiveFarewell(from, new Uint8Array([1, 2, 3]))
    expect(specs.digest().root).toBe(root)
    expect(replication.counters().garbage).toBe(2)
    const other = cluster.node(1).specs
    const [message] = await other.remove('node', other.byName('node', id)?.id as never, author)
    await replication.receiveFarewell(
      from,
      encode(message?.type === 'tombstone' ? message.tombstone : undefined),
    )
    expect(specs.byName('node', id)).toBeUndefined()
  })

  it('a farewell is believed of a member, whoever signed it, if it is of this node', async () => {
    cluster = await testCluster({ count: 3, settings: quiet, trust: () => false })
    await cluster.advance(1_000)
    const { specs, replication, id } = cluster.node(0)
    const other = cluster.node(1).specs
    const removalOf = async (name: NodeId): Promise<Uint8Array> => {
      const [message] = await other.remove('node', other.byName('node', name)?.id as never, author)
      return encode(message?.type === 'tombstone' ? message.tombstone : undefined)
    }
    const third = cluster.node(2).id
    await replication.receiveFarewell(cluster.node(1).id, await removalOf(third))
    expect(specs.byName('node', third)).toBeDefined()
    const removal = await removalOf(id)
    await replication.receiveFarewell('a stranger' as NodeId, removal)
    expect(specs.byName('node', id)).toBeDefined()
    await replication.receiveFarewell(cluster.node(1).id, removal)
    expect(specs.byName('node', id)).toBeUndefined()
  })
})

describe('garbage', () => {
  it('on every topic and protocol it is counted and ignored', async () => {
    cluster = await testCluster({ count: 2, settings: quiet })
    await cluster.advance(1_000)
    const [sender, receiver] = [cluster.node(1), cluster.node(0)]
    const garbage: Uint8Array[] = [
      new Uint8Array([0xff, 0xfe, 0x00]),
      encode(null),
      encode([]),
      encode({ messages: [{ type: 'changes', kind: 'nothing' }] }),
      encode({ records: [{ node: 1 }] }),
      encode({ step: 'specs', buckets: [900], entries: [] }),
    ]
    const before = receiver.replication.counters().garbage
    let refused = 0
    for (const payload of garbage) {
      await sender.mesh.publish('specs', payload)
      await sender.mesh.publish('records', payload)
      for (const protocol of ['commit', 'fetch', 'sync', 'record']) {
        const signal = new AbortController().signal
        await during(
          sender.mesh.request(receiver.id, protocol, payload, signal).catch(() => {
            refused += 1
          }),
        )
      }
    }
    await cluster.advance(100)
    expect(refused).toBe(garbage.length * 4)
    expect(receiver.replication.counters().garbage - before).toBe(garbage.length * 6)
    // And it still works.
    await during(create(1, 'web'))
    await cluster.advance(100)
    expect(names(0)).toEqual(['web'])
  })

  it('well-formed lies are refused by the stores and change nothing', async () => {
    cluster = await testCluster({ count: 2, settings: quiet })
    await cluster.advance(1_000)
    const [liar, victim] = [cluster.node(1), cluster.node(0)]
    const root = victim.specs.digest().root
    const own = liar.records.whole(liar.id)
    const tombstone = {
      kind: 'node',
      name: victim.id,
      incarnation: 1,
      author,
      publicKey: own?.publicKey ?? '',
      signature: own?.signature ?? '',
    }
    const document = { type: 'changes', kind: 'config', name: 'x', incarnation: 1, document: 'bm9uc2Vuc2U=' }
    await liar.mesh.publish('specs', encode({ messages: [{ type: 'tombstone', tombstone }, document] }))
    await liar.mesh.publish('records', encode({ records: [{ ...own, seq: 99 }] }))
    await cluster.advance(100)
    expect(victim.specs.digest().root).toBe(root)
    expect(victim.records.all().get(liar.id)?.seq).not.toBe(99)
    expect(victim.replication.counters().refused).toBeGreaterThanOrEqual(3)
  })
})
