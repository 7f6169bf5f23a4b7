import type { World } from './world.ts'

/**
 * No container gets an address that another one has, on whatever host, a task's or a person's. (Two sides of a partition may claim one
 * block, and sort it out when they meet: watched where nobody is ever cut off.)
 */
export function watchAddresses(world: World, tell: (line: string) => void): void {
  function check(who: string, container: string, network: string, address: string): void {
    for (const { host, holder, name } of holders(world, network, address))
      if (holder !== container) tell(`${who} gets the address of ${name} on ${host}`)
  }
  world.onCreate((host, { task, service, overlays }) => {
    for (const { network, address } of overlays)
      check(`${service.name}.${task.slot} on ${host.name}`, task.id, network.id, address)
  })
  world.onGuest((host, { container, name, network, address }) => {
    if (address !== undefined) check(`${name} on ${host.name}`, container, network, address)
  })
}

/** Who has it now. What a person left on a host that left the cluster reaches nobody any more. */
function holders(
  world: World,
  network: string,
  address: string,
): readonly { readonly host: string; readonly holder: string; readonly name: string }[] {
  return world.hosts.flatMap(({ name: host, engine, isMember }) => [
    ...engine
      .containers()
      .filter(
        ({ setup, observation }) =>
          observation.state === 'running' &&
          setup.overlays.some((each) => each.network.id === network && each.address === address),
      )
      .map(({ setup: { task, service } }) => ({
        host,
        holder: task.id,
        name: `${service.name}.${task.slot}`,
      })),
    ...engine
      .guestsNow()
      .filter((guest) => isMember && guest.network === network && guest.address === address)
      .map(({ container, name }) => ({ host, holder: container, name })),
  ])
}
