import type { ServiceId, Slot, TaskEntry } from '@moot/crdt-state'
import { portKey, type Demand, type Workload } from './workload.ts'

/**
 * What is taken on one node: by its claims, and during a fold by the vacancies that it is given. Counted from declared
 * reservations, never from live usage, which feeds back and flaps.
 */
export class NodeLoad {
  /** Grows with every change: what was worked out from the load is old then. */
  turn = 0
  tasks = 0
  nanoCpus = 0
  memoryBytes = 0
  readonly #slotsOfService = new Map<ServiceId, number>()
  /** Units taken per kind, and per name as `kind=name`. */
  readonly #generic = new Map<string, number>()
  readonly #portHolders = new Map<string, string>()

  /** Slots of the service here. A start-first update has two tasks in one slot, which count once. */
  slotsOf(service: ServiceId): number {
    return this.#slotsOfService.get(service) ?? 0
  }

  genericTaken(kind: string): number {
    return this.#generic.get(kind) ?? 0
  }

  isNameTaken(kind: string, name: string): boolean {
    return (this.#generic.get(`${kind}=${name}`) ?? 0) > 0
  }

  /** `web.1`, or undefined where the port is free. */
  portHolder(port: string): string | undefined {
    return this.#portHolders.get(port)
  }

  /** A vacancy that this node is to claim; taken off again with `remove` when the fold is over. */
  add(workload: Workload, slot: Slot): void {
    this.#takeDemand(workload.demand, 1)
    bump(this.#slotsOfService, workload.id, 1)
    for (const port of workload.demand.hostPorts) {
      this.#portHolders.set(port, slotName(workload.name, slot))
    }
  }

  remove(workload: Workload): void {
    this.#takeDemand(workload.demand, -1)
    bump(this.#slotsOfService, workload.id, -1)
    // The filter let it in only because they were free.
    for (const port of workload.demand.hostPorts) this.#portHolders.delete(port)
  }

  /** Called once for a slot that is claimed here. */
  addSlot(service: ServiceId): void {
    bump(this.#slotsOfService, service, 1)
  }

  /** `workload` undefined: its service was removed, so what it reserved is no longer known. It is about to stop. */
  addTask(task: TaskEntry, workload: Workload | undefined): void {
    const name = slotName(workload?.name ?? task.service, task.slot)
    if (workload === undefined) {
      this.turn += 1
      this.tasks += 1
    } else this.#takeDemand(workload.demand, 1)
    for (const port of workload?.demand.hostPorts ?? []) this.#holdPort(port, name)
    // What the engine has really published may be of an older spec, or a port that it chose itself.
    for (const { published, protocol } of task.ports ?? []) this.#holdPort(portKey(published, protocol), name)
  }

  /** Of several, the first by name: agents that learnt of them in another order give the same reason. */
  #holdPort(port: string, name: string): void {
    const holder = this.#portHolders.get(port)
    if (holder === undefined || name < holder) this.#portHolders.set(port, name)
  }

  #takeDemand(demand: Demand, sign: 1 | -1): void {
    this.turn += 1
    this.tasks += sign
    this.nanoCpus += sign * demand.nanoCpus
    this.memoryBytes += sign * demand.memoryBytes
    for (const { kind, count, names } of demand.generic) {
      bump(this.#generic, kind, sign * count)
      for (const name of names) bump(this.#generic, `${kind}=${name}`, sign)
    }
  }
}

/** Swarm's task names: `web.1`, and `web` on its node for a global service. */
export function slotName(service: string, slot: Slot): string {
  return typeof slot === 'number' ? `${service}.${slot}` : service
}

function bump<K>(counts: Map<K, number>, key: K, by: number): void {
  const next = (counts.get(key) ?? 0) + by
  if (next === 0) counts.delete(key)
  else counts.set(key, next)
}
