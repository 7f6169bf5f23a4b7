import type { NodeId, ResourceId } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import type { Frontend, Plane } from '../../core/network/plane.ts'
import { rulesetOf } from './ruleset.ts'
import { settingsFrom } from './settings.ts'
import { rulesText } from './table-text.ts'
import { buildText, changeText, enforceText } from './transaction.ts'

const settings = settingsFrom({ vni: 1, dnsPort: 53, wireGuard: { keyFile: String } })

function frontend(number: number, backends: readonly string[]): Frontend {
  return {
    at: { kind: 'virtual', address: `10.128.0.${number}`, network: 'web' as ResourceId },
    backends: backends.map((each) => `10.128.16.${each}`),
  }
}

function rulesetWith(
  frontends: readonly Frontend[],
  more: Partial<Plane> = {},
): ReturnType<typeof rulesetOf> {
  const web = {
    id: 'web' as ResourceId,
    subnet: '10.128.0.0/18',
    virtual: '10.128.0.0/20',
    isInternal: false,
    bridge: { name: 'moot-web', address: '10.128.16.1' },
    routes: [{ block: '10.128.16.128/25', to: 'other' as NodeId }],
  }
  const self = { underlay: '10.99.0.1', mac: '02:00:00:00:00:01' }
  return rulesetOf({ self, networks: [web], peers: [], frontends, ...more }, settings)
}

/** The transaction that leads from one to the other, line by line. */
function change(from: readonly Frontend[], to: readonly Frontend[]): string[] {
  return changeText('moot', rulesetWith(from), rulesetWith(to)).split('\n').filter(Boolean)
}

describe('a change of what balances', () => {
  it('is nothing where nothing differs', () => {
    expect(change([frontend(1, ['200'])], [frontend(1, ['200'])])).toEqual([])
  })

  it("replaces the one frontend's chain, and mentions no other", () => {
    const others = [frontend(1, ['201', '202']), frontend(3, [])]
    expect(change([...others, frontend(2, ['200', '201'])], [...others, frontend(2, ['200'])])).toEqual([
      'flush chain ip moot virtual-10.128.0.2',
      'add rule ip moot virtual-10.128.0.2 dnat to 10.128.16.200',
    ])
  })

  it('of a frontend that goes takes the way to its chain before the chain, and of one that comes adds it after', () => {
    expect(change([frontend(1, ['200'])], [frontend(2, ['200'])])).toEqual([
      'delete element ip moot virtual_frontends { 10.128.0.1 }',
      'flush chain ip moot virtual-10.128.0.1',
      'delete chain ip moot virtual-10.128.0.1',
      'add chain ip moot virtual-10.128.0.2',
      'add rule ip moot virtual-10.128.0.2 dnat to 10.128.16.200',
      'add element ip moot virtual_frontends { 10.128.0.2 : goto virtual-10.128.0.2 }',
    ])
  })

  it('lists as able to come back to themselves only backends on this host', () => {
    const { hairpins } = rulesetWith([frontend(1, ['5', '200'])]).sets
    expect([...hairpins.keys()]).toEqual(['10.128.16.5 . 10.128.16.5'])
  })
})

describe('the first build', () => {
  it('takes away what may be left of another one, and makes chains before what leads to them', () => {
    const text = buildText('moot', rulesetWith([frontend(1, ['200', '201'])]))
    expect(text).toMatch(/^add table ip moot\ndelete table ip moot\ntable ip moot \{\n {2}set bridges/)
    expect(text).toContain('dnat to numgen random mod 2 map { 0 : 10.128.16.200, 1 : 10.128.16.201 }')
    const [chain, element] = ['chain virtual-10.128.0.1', 'add element ip moot virtual_frontends']
    expect(text.indexOf(chain)).toBeLessThan(text.indexOf(element))
  })

  it('has all sets full before a packet meets a rule: those of intervals would be empty for a moment', () => {
    const self = { underlay: '10.99.0.1', mac: '02:00:00:00:00:01' }
    const rules = rulesText({ self, peers: [], networks: [], frontends: [] }, settings, 1_450)
    const enforced = enforceText('moot', rules)
    expect(buildText('moot', rulesetWith([frontend(1, ['200'])]))).not.toContain('hook')
    expect(enforced).toContain('hook')
    expect(enforced).not.toMatch(/^\s*(set|map|add|delete|flush) /m)
    const setsWithinRules = enforced.match(/(?<=\S )\{ .* \}/g) ?? []
    expect(setsWithinRules).toContain('{ tcp, udp }')
    expect(setsWithinRules.filter((set) => /\d[-/]\d/.test(set))).toEqual([])
  })

  it('hands a set of thousands over in parts', () => {
    const many = Array.from({ length: 700 }, (_, index) => ({
      ...frontend(0, ['200']),
      at: { kind: 'published', protocol: 'tcp', port: index + 1, target: 80 } as const,
    }))
    const text = buildText('moot', rulesetWith(many))
    expect(text.match(/add element ip moot published_frontends/g)).toHaveLength(2)
  })
})
