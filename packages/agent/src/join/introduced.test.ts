import { generateIdentity, type Identity, type NodeId, nodeIdOf, type SpecStore } from '@moot/crdt-state'
import { pino } from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { author, type Machine, World } from '../agent.testing.ts'
import { defaults } from '../defaults.ts'
import { createIntroduced } from './introduced.ts'
import { encodeIntroduction, signAdmission } from './introduction.ts'

describe('a member that joined while another was parted', () => {
  let world: World
  afterEach(async () => world.stop())

  const nth = (index: number): Machine => world.nth(index)
  const listed = ({ agent }: Machine): readonly string[] => [...agent.view().nodes.keys()].toSorted()
  async function areListed(by: readonly Machine[], members: readonly Machine[]): Promise<void> {
    const all = members.map(({ node }) => node).toSorted()
    await world.until('all are listed', () => by.every((each) => listed(each).join() === all.join()))
  }

  /** The second machine is parted from all the others. */
  function part(): void {
    const [issuer, parted, ...others] = world.machines
    world.network.partition([[issuer!, ...others].map(({ agent }) => agent.self), [parted!.agent.self]])
  }
  function heal(): void {
    world.network.partition([])
  }
  async function joinThrough(issuer: Machine): Promise<Machine> {
    const machine = await world.add()
    part()
    const { token } = await issuer.agent.createToken({ ttlMs: 60_000 })
    await world.during(machine.agent.join(token, { author }))
    await world.pass(2_000)
    return machine
  }
  const leave = (machine: Machine): Promise<void> =>
    world.during(machine.agent.leave({ force: false, author }))
  async function die(machine: Machine): Promise<void> {
    await world.during(machine.agent.stop())
    world.network.cut(machine.node)
  }
  /** A cluster of two, of which the second is parted; a third has joined through the first. */
  async function story(): Promise<{ issuer: Machine; parted: Machine; newcomer: Machine }> {
    world = await World.of(2)
    part()
    const newcomer = await joinThrough(nth(0))
    return { issuer: nth(0), parted: nth(1), newcomer }
  }

  it('is one for it too when its issuer has left', async () => {
    const { issuer, parted, newcomer } = await story()
    await leave(issuer)
    await world.pass(5_000)
    expect(listed(parted)).not.toContain(newcomer.node)
    heal()
    await areListed([parted, newcomer], [parted, newcomer])
    expect(listed(parted)).toEqual(listed(newcomer))
  })

  it('is one for it too when the machine of its issuer is gone for ever', async () => {
    const { issuer, parted, newcomer } = await story()
    await die(issuer)
    await world.pass(5_000)
    heal()
    await areListed([parted, newcomer], [issuer, parted, newcomer])
    expect(listed(parted)).toEqual(listed(newcomer))
  })

  it('is one for it too when it was restarted in between', async () => {
    const { issuer, parted, newcomer } = await story()
    await leave(issuer)
    await world.restart(newcomer)
    heal()
    await areListed([parted, newcomer], [parted, newcomer])
    expect(listed(parted)).toEqual(listed(newcomer))
  })

  it('is one for it too when its issuer had joined meanwhile itself, and all in between have left', async () => {
    const { issuer, parted, newcomer } = await story()
    const second = await joinThrough(newcomer)
    await leave(issuer)
    await leave(newcomer)
    heal()
    await areListed([parted, second], [parted, second])
    expect(listed(parted)).toEqual(listed(second))
  })

  it('is refused, and stays so, when its issuer was removed by a person', async () => {
    const { issuer, parted, newcomer } = await story()
    const { id } = parted.agent.view().nodes.get(issuer.node)!
    await world.during(parted.agent.remove('node', id, author))
    await die(issuer)
    heal()
    await world.pass(120_000)
    await world.restart(newcomer)
    await world.restart(parted)
    await world.pass(120_000)
    expect(listed(parted)).toEqual([parted.node])
    expect(parted.gate.member(newcomer.node)).toBe(false)
  })

  it('shows its introduction in vain once it was removed', async () => {
    const { issuer, parted, newcomer } = await story()
    const shown = newcomer.gate.introduction()!
    const { publicKey } = newcomer.home.identity()
    const { id } = issuer.agent.view().nodes.get(newcomer.node)!
    await world.during(issuer.agent.remove('node', id, author))
    heal()
    await world.until('it is known', () => parted.gate.farewell(newcomer.node) !== undefined)
    expect(parted.gate.introduced(newcomer.node, publicKey, shown)).toBe(false)
    expect(parted.gate.member(newcomer.node)).toBe(false)
  })

  it('has no introduction any more after it has left', async () => {
    const { newcomer } = await story()
    expect(newcomer.gate.introduction()).toBeDefined()
    await leave(newcomer)
    expect(newcomer.gate.introduction()).toBeUndefined()
    expect(newcomer.home.readNote()).toBeUndefined()
  })
})

describe('nodes that were let in on their introductions', () => {
  const clusterId = 'c'.repeat(25)
  const issuer = generateIdentity().identity
  const members = new Set<NodeId>([nodeIdOf(issuer.publicKey)])
  /** By the key in base64 that signed it. */
  const removals = new Map<NodeId, string>()
  const specs = {
    byName: (_: string, node: NodeId) => (members.has(node) ? {} : undefined),
    tombstone: (kind: string, name: NodeId) => {
      const publicKey = removals.get(name)
      return publicKey === undefined ? undefined : { kind, name, publicKey }
    },
  } as unknown as SpecStore
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
  const open = (introducedMax: number, isLostMember: (node: NodeId) => boolean = () => false) =>
    createIntroduced({
      clusterId,
      identity: issuer,
      specs,
      settings: { ...defaults, introducedMax },
      logger: pino({ level: 'silent' }),
      isLostMember,
    })
  const admitted = ({ publicKey }: Identity, by = issuer): [NodeId, Uint8Array, Uint8Array] => [
    nodeIdOf(publicKey),
    publicKey,
    encodeIntroduction([signAdmission(by, clusterId, publicKey)])!,
  ]

  it('are so many at once, and make room when their documents come', () => {
    const introduced = open(2)
    const [first, second, third] = [0, 1, 2].map(() => admitted(generateIdentity().identity))
    expect(introduced.letIn(...first!)).toBe(true)
    expect(introduced.letIn(...second!)).toBe(true)
    expect(introduced.letIn(...third!)).toBe(false)
    expect(introduced.has(third![0])).toBe(false)
    members.add(first![0])
    expect(introduced.letIn(...third!)).toBe(true)
  })

  it('may come from a member of whom a damaged store has only the name', () => {
    const lost = generateIdentity().identity
    const shown = admitted(generateIdentity().identity, lost)
    expect(open(2).letIn(...shown)).toBe(false)
    expect(open(2, (node) => node === nodeIdOf(lost.publicKey)).letIn(...shown)).toBe(true)
  })

  it('come from no former member', () => {
    const former = generateIdentity().identity
    const shown = admitted(generateIdentity().identity, former)
    removals.set(nodeIdOf(former.publicKey), base64(issuer.publicKey))
    expect(open(2).letIn(...shown)).toBe(false)
  })

  it('are let in no more from the moment of their removal', () => {
    const introduced = open(2)
    const [node, ...shown] = admitted(generateIdentity().identity)
    expect(introduced.letIn(node, ...shown)).toBe(true)
    expect(introduced.has(node)).toBe(true)
    removals.set(node, base64(issuer.publicKey))
    expect(introduced.has(node)).toBe(false)
    expect(introduced.letIn(node, ...shown)).toBe(false)
  })
})
