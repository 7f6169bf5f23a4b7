import type { World } from './world.ts'

/** How often all are asked whom they take for dead, ms. */
const lookEveryMs = 200

/** Nobody is taken for dead whose host answers everybody, as a host does whose agent only stands still (SIGSTOP). */
export function watchEvictions(world: World, tell: (line: string) => void): void {
  const told = new Set<string>()
  const look = (): void => {
    for (const { name, agent, node } of world.isPeaceful ? world.members() : []) {
      for (const other of world.members()) {
        const isEvicted = other.node !== node && agent?.liveness().get(other.node)?.kind === 'down'
        const line = `${name} takes ${other.name} for dead, which nothing has parted from anybody`
        if (isEvicted && !told.has(line)) tell(line)
        if (isEvicted) told.add(line)
      }
    }
    world.clock.after(lookEveryMs, look)
  }
  look()
}
