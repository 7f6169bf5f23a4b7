import { describe, expect, it } from 'vitest'
import { slotCgroup, type SlotPlace } from './slot-cgroup.ts'

const place = { cluster: 'c1', node: 'n1', slot: 'data-base.1' }

describe("a slot's cgroup", () => {
  it("is a path to Docker's own driver", () => {
    const { parent, path } = slotCgroup(place, 'cgroupfs')
    expect(path).toMatch(/^\/moot\/exclusive\/data_base\.1_[0-9a-f]{16}$/)
    expect(parent).toBe(path)
    expect(slotCgroup(place, 'cgroupfs', '/bed/node1').path).toMatch(/^\/bed\/node1\/exclusive\/data_base/)
  })

  it("is a slice directly below moot.slice to systemd's", () => {
    const { parent, path } = slotCgroup(place, 'systemd')
    // One dash only: each would be a level.
    expect(parent).toMatch(/^moot-data_base\.1_[0-9a-f]{16}\.slice$/)
    expect(path).toBe(`/moot.slice/${parent}`)
  })

  it.each([
    ['cluster', { ...place, cluster: 'c2' }],
    ['node', { ...place, node: 'n2' }],
    ['slot', { ...place, slot: 'data-base.2' }],
    ['spelling that looks the same', { ...place, slot: 'data_base.1' }],
  ] satisfies [string, SlotPlace][])('another %s has another', (_, other) => {
    expect(slotCgroup(other, 'cgroupfs').path).not.toBe(slotCgroup(place, 'cgroupfs').path)
    expect(slotCgroup(other, 'systemd').path).not.toBe(slotCgroup(place, 'systemd').path)
  })

  it('is a name that the file system takes, and a path that stays below its base, whatever the slot is called', () => {
    for (const slot of ['x'.repeat(300), '../../../system.slice', 'ä/…\n', '.']) {
      const { path } = slotCgroup({ ...place, slot }, 'cgroupfs')
      expect(path).toMatch(/^\/moot\/exclusive\/[\w.]{1,100}$/)
    }
  })
})
