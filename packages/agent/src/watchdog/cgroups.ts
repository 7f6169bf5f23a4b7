/** What a watchdog does with the parent cgroup of a slot's containers. Each throws if the system refuses. */
export interface Cgroups {
  /** Makes it where it is not yet, and lets processes start in it. */
  open(cgroup: string): void
  /** From now on no process can start in it, whoever tries. */
  block(cgroup: string): void
  /** SIGKILL to every process below it, once. */
  kill(cgroup: string): void
  isOccupied(cgroup: string): boolean
  /** Nothing runs in it and nobody needs it. */
  remove(cgroup: string): void
}
