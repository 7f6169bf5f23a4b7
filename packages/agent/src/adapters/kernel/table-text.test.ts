import type { NodeId } from '@moot/crdt-state'
import { expect, test } from 'vitest'
import type { Plane } from '../../core/network/plane.ts'
import { settingsFrom } from './settings.ts'
import { rulesText } from './table-text.ts'

const plane: Plane = {
  self: { underlay: '10.99.0.1', mac: '02:00:00:00:00:01' },
  peers: [{ node: 'b' as NodeId, underlay: '10.99.0.2', mac: '02:00:00:00:00:02', mark: 1 }],
  networks: [],
  frontends: [],
}

const settings = settingsFrom({ vni: 1, dnsPort: 7_453, wireGuard: { keyFile: (lane) => `/${lane}` } })

/** The rules of one chain, in order. */
function rulesOf(chain: string): readonly string[] {
  const text = rulesText(plane, settings, 1_450)
  const [, body = ''] =
    new RegExp(`chain ${chain} \\{\\n([^}]*(?:\\{[^}]*\\}[^}]*)*?)\\n {2}\\}`).exec(text) ?? []
  return body
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#') && !line.startsWith('type '))
}

test('no container sends tunnel packets to a member: masqueraded they would come from one', () => {
  expect(rulesOf('tunnel_forward')).toEqual(['udp dport 7422 ip daddr @peers ip saddr != @peers drop'])
  expect(rulesOf('tunnel_input')).toEqual([
    'udp dport 7422 ip saddr != @peers drop',
    'udp dport 7422 ip daddr != 10.99.0.1 drop',
    'udp dport 7422 ip saddr @sealed_peers iifname != { "moot-wg0", "moot-wg1" } drop',
  ])
})

test('nothing that Docker translated leads out of an internal network', () => {
  const rules = rulesOf('from_bridge')
  const refused = rules.findIndex((rule) => rule.startsWith('iifname @internal_bridges reject'))
  const translated = rules.findIndex((rule) => rule.includes('ct status dnat goto pass'))
  expect(refused).toBeGreaterThan(-1)
  expect(translated).toBeGreaterThan(refused)
})
