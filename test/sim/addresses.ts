import type { World } from './world.ts'

/**
 * No container gets an address that another one has, on whatever host. (Two sides of a partition may claim one block, and sort it
 * out when they meet: watched where nobody is ever cut off.)
 */
export function watchAddresses(world: World, tell: (line: string) => void): void {
  world.onCreate((host, { task, service, overlays }) => {
    for (const { network, address } of overlays) {
      for (const other of world.hosts) {
        const twin = other.engine
          .containers()
          .find(
            ({ setup, observation }) =>
              observation.state === 'running' &&
              setup.task.id !== task.id &&
              setup.overlays.some((each) => each.network.id === network.id && each.address === address),
          )
        if (twin === undefined) continue
        const name = `${twin.setup.service.name}.${twin.setup.task.slot} on ${other.name}`
        tell(`${service.name}.${task.slot} on ${host.name} gets the address of ${name}`)
      }
    }
  })
}
