import type { World } from './world.ts'

/** The cluster as its nodes tell it, for a person who replays a seed. */
export function story(world: World): string {
  const lines: string[] = [`at ${world.timeline.nowMs} ms`]
  for (const node of world.nodes) {
    const { record } = node
    const state = node.agentUp ? 'up' : node.hostUp ? 'no agent' : 'off'
    const availability = world.wanted.availability.get(node.id)
    lines.push(`${node.id.slice(0, 5)} ${state}, ${availability}, record ${record.epoch}.${record.seq}`)
    for (const task of record.tasks.values()) {
      const name = world.wanted.services.get(task.service)?.name ?? '(removed)'
      const end = task.error === undefined ? '' : ` (${task.error})`
      lines.push(
        `  ${name}.${task.slot} #${task.attempt} ${task.digest.slice(0, 4)} ${task.state} → ${task.desired}${end}`,
      )
    }
    for (const facts of record.updates.values()) {
      const name = world.wanted.services.get(facts.service)?.name ?? '(removed)'
      const slots = Object.entries(facts.slots).map(([slot, fact]) => `${slot.slice(26)} ${fact.state}`)
      lines.push(`  update ${name} to ${facts.digest.slice(0, 4)}: ${slots.join(', ')}`)
    }
    for (const { target, evidence } of record.alerts.values())
      lines.push(`  alert ${target.slice(0, 5)} ${evidence}`)
    for (const rejection of record.rejections.values()) lines.push(`  rejection: ${rejection.reason}`)
  }
  return lines.join('\n')
}
