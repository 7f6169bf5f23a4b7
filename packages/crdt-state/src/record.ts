import type {
  ContainerId,
  GuestId,
  NodeId,
  ResourceId,
  ServiceId,
  Slot,
  SlotId,
  SpecDigest,
  TaskId,
  UpdateKey,
} from './ids.ts'

/** Docker Swarm's task states, in Swarm's order (swarmkit api/types.proto TaskState). A task never moves backward. */
export const taskStates = [
  'new',
  'allocated',
  'pending',
  'assigned',
  'accepted',
  'preparing',
  'ready',
  'starting',
  'running',
  'complete',
  'shutdown',
  'failed',
  'rejected',
  'remove',
  'orphaned',
] as const
export type TaskState = (typeof taskStates)[number]

/** Has the task ended? (`complete` and everything after it.) */
export function isTerminal(state: TaskState): boolean {
  return taskStates.indexOf(state) >= taskStates.indexOf('complete')
}

/**
 * One task in its node's record. While `desired` is `ready` or `running` and the state is not terminal, this entry
 * *is the claim*: "this slot of this spec is mine, attempt k". It is durable before anything is created.
 */
export interface TaskEntry {
  readonly id: TaskId
  readonly service: ServiceId
  readonly slot: Slot
  /** Grows by one with each task of the slot, on whichever node; the lower attempt wins a doubly claimed slot. */
  readonly attempt: number
  readonly digest: SpecDigest
  /** `Version.Index` of the service that this task was made from. */
  readonly serviceVersion: number
  /** `ready` = created, waiting for its restart delay; `remove` = its slot or service is gone. */
  readonly desired: 'ready' | 'running' | 'shutdown' | 'remove'
  readonly state: TaskState
  /**
   * The boot epoch of the record in which this node last saw the container up. After a start of the agent `running`
   * is only remembered until this is the record's epoch again: nobody may rely on it before.
   */
  readonly seenEpoch?: number
  /** Wall clock of this node, ms; display only. */
  readonly createdAtMs: number
  readonly stateAtMs: number
  readonly message?: string
  readonly error?: string
  /** It runs, and balancers send nothing there: since when and why. Absent: what runs is ready. */
  readonly unready?: { readonly sinceMs: number; readonly why: string }
  /**
   * Ill health. `waiting`: it has said so, and is stopped a moment later; `held`: others of its service go first; it may get
   * well before. `stopping` is for good, and stays on the task that ended of it.
   */
  readonly illness?: {
    readonly kind: 'waiting' | 'held' | 'stopping'
    readonly sinceMs: number
    readonly why: string
  }
  readonly exitCode?: number
  readonly containerId?: ContainerId
  readonly pid?: number
  /** Host ports that the engine gave (`PublishedPort` 0 in host mode). */
  readonly ports?: readonly {
    readonly protocol: string
    readonly target: number
    readonly published: number
  }[]
  /** Addresses per network (Docker network name → CIDR). `id`: it is this network of the cluster, and the address is out of a block. */
  readonly addresses?: readonly {
    readonly network: string
    readonly address: string
    readonly id?: ResourceId
  }[]
  /** Earlier vacancies that the placement of this claim assumed filled (DESIGN section 5, rule 4). */
  readonly assumed?: readonly SlotId[]
  /** The constraints that it was placed by: where the service's are others by now, it was not the node that changed. */
  readonly constraints?: readonly string[]
  /** Its slot is to go to another node, which takes it over first: this update does not fit here. */
  readonly leaves?: { readonly update: UpdateKey; readonly reason: string }
  /** It was asked to move for the sake of evenness (`moveFact`). */
  readonly balance?: Balance
  /** Carried from task to task of a slot on this node: what the restart policy counts. (`afterIllness`: from node to node.) */
  readonly restart?: {
    /** Restarts since the slot last ran for long: what the back-off doubles by. */
    readonly count: number
    readonly windowStartMs: number
    /** Not started before this; ms on this node's clock. */
    readonly notBeforeMs: number
    /** All restarts of this slot with this digest: what MaxAttempts without a Window bounds. */
    readonly total?: number
    /** When the last restarts happened: what MaxAttempts within a Window bounds. At most MaxAttempts entries. */
    readonly recentMs?: readonly number[]
    /** A task before this one was stopped for ill health, and none has been well since. */
    readonly afterIllness?: true
  }
  /** Of the lease under which its container was made: it may run only while its node holds that one. Absent: it needs none. */
  readonly fence?: number
  /** What that lease is of, `<service name>.<slot>`: said here too, since it has to be known when the service is gone. */
  readonly leased?: string
  /** It ended for want of a lease: neither its own fault nor its spec's, so no restart or update counts it as a failure. */
  readonly lostLease?: true
  /**
   * The task has ended and its restart policy says "not again" (completed, or attempts used up). Its slot is settled
   * here and stays held by this node until the service changes. It reserves nothing: no CPU, memory or port.
   */
  readonly done?: true
}

/**
 * `leaving`: another node takes the slot over that would have less than `shares` of the service, counted as the placement does.
 * `staying`: none did, and that was that for this asking.
 *
 * Beside `leaves`, and not a kind of it: to an agent that knows only that one it is a task like any other.
 */
export interface Balance {
  readonly kind: 'leaving' | 'staying'
  /** How often this task had been asked to move by then. */
  readonly asked: number
  readonly sinceMs: number
  /** What each branch of the spread preferences that the node stands in had of the service, level by level; last the node itself. */
  readonly shares: readonly number[]
}

/** A task that was ended for good (`done`) claims its slot too: else the slot would look vacant and run again. */
export function isClaim(task: TaskEntry): boolean {
  return (
    (task.desired === 'running' || task.desired === 'ready') &&
    (!isTerminal(task.state) || task.done === true)
  )
}

/** What the node says of itself and its engine. */
export interface NodeStatus {
  readonly hostname: string
  readonly addresses: readonly string[]
  /** Multiaddrs of the mesh port. */
  readonly meshAddresses: readonly string[]
  readonly agentVersion: string
  /** Rules versions that this agent knows; all members use the highest common one. */
  readonly rules: readonly number[]
  readonly engine:
    | { readonly state: 'up'; readonly version: string; readonly apiVersion: string; readonly bootId: string }
    /** `forLong`: it is no restart of Docker, and nobody waits for what this node was to do. */
    | { readonly state: 'down'; readonly error: string; readonly forLong?: boolean }
  readonly platform: { readonly os: string; readonly architecture: string }
  /** Allocatable: what tasks may reserve. */
  readonly capacity: {
    readonly nanoCpus: number
    readonly memoryBytes: number
    readonly generic: readonly { readonly kind: string; readonly value: number | readonly string[] }[]
    readonly maxTasks: number
  }
  readonly engineLabels: Readonly<Record<string, string>>
  readonly plugins: readonly { readonly type: string; readonly name: string }[]
  /** Names of the local volumes that are here, whoever made them: a slot of a service with one is tied to this node. */
  readonly volumes: readonly string[]
  /** Which voter it would be, and the newest epoch of voters that it knows. Absent: an agent that knows nothing of leases. */
  readonly seat?: { readonly disk: string; readonly epoch: number }
  /** Its end of WireGuard. Absent: it has none, and what others send to it is not encrypted. */
  readonly wireGuard?: WireGuardEnd
}

/** A public key of WireGuard, base64. A change of all nodes' keys is a round; they are counted from 0. */
export interface RoundKey {
  readonly round: number
  readonly key: string
}

/** What other nodes have to know of a node's end of WireGuard. Its own kernel stands for all of it already. */
export interface WireGuardEnd {
  /** By round: one, or two while keys change. What comes under either is taken. */
  readonly keys: readonly RoundKey[]
  /** Under the key of this round it sends, to whoever has one of that round too. Absent: it is new to it, and others may not have its key yet. */
  readonly uses?: number
}

/** "I, an observer, cannot reach that node." Stays until that node is reached *and* has published a newer record. */
export interface Alert {
  readonly target: NodeId
  /**
   * - `suspected`: some probes had no answer: no traffic should go there. Counts in no verdict.
   * - `refused`: the host lives, its agent does not.
   * - `silent`: nothing has answered for long enough to tell (host gone or cut off).
   * - `judged`: silent, and this observer's view judged it down: its records up to this version are void.
   * - `returned`: reached again; only its records newer than this version count. Removed after a while. A node says
   *   it of itself to answer an alert: its record is newer than the accused one from then on.
   */
  readonly evidence: 'suspected' | 'silent' | 'refused' | 'judged' | 'returned'
  /** It came back after it was away for so long or so often that less is built on it for a while, whatever else is said. */
  readonly probation?: true
  /** The last version of the target's record that the observer had. */
  readonly epoch: number
  readonly seq: number
  /** Ms on the observer's own clock, display only. */
  readonly sinceMs: number
}

export interface UpdateFact {
  readonly state: 'begun' | 'ok' | 'failed'
  readonly atMs: number
  /** Why it failed, where no task tells it: no node takes the slot. */
  readonly why?: string
}

/** Latched facts of one update on this node: per slot, begun and then settled (DESIGN section 7). */
export interface UpdateFacts {
  readonly service: ServiceId
  readonly update: UpdateKey
  readonly slots: Readonly<Record<string, UpdateFact>>
  /** How often people had let it go on after a pause when this was written: older failures count no more. Absent: never. */
  readonly resumed?: number
}

/** "I will not run this spec": the slot is placed elsewhere until this node withdraws it. */
export interface Rejection {
  readonly service: ServiceId
  readonly digest: SpecDigest
  readonly reason: string
  readonly atMs: number
  /** There was no room: it is withdrawn as soon as there is. */
  readonly isShort?: boolean
}

/**
 * Blocks of addresses that this node has claimed of a network, in the order in which it did; written before an address of
 * one is used. They mean nothing in another subnet than the one that they were claimed in.
 */
export interface BlockClaims {
  readonly network: ResourceId
  /** `10.128.0.0/18` */
  readonly subnet: string
  /** Numbers of blocks in the subnet, from 0. */
  readonly blocks: readonly number[]
}

/**
 * A container that a person, not a service, put on a network of the cluster (`docker run --network`), and its address there.
 * Written before there is such a container; gone once there is none any more.
 */
export interface GuestEntry {
  readonly id: GuestId
  readonly network: ResourceId
  /** `10.128.0.17` */
  readonly address: string
  /** Names that it was given on the network beside its own. */
  readonly aliases: readonly string[]
  /** Its own name servers, for what is no name of the cluster; none: the host's. */
  readonly nameservers: readonly string[]
  /** Wall clock of this node, ms. */
  readonly createdAtMs: number
  /** Absent: it is about to be made. */
  readonly container?: { readonly id: ContainerId; readonly name: string; readonly isUp: boolean }
}

/** A node's record, decoded. Entries of kinds that this agent does not know are kept and passed on, not shown here. */
export interface NodeRecord {
  readonly node: NodeId
  readonly epoch: number
  readonly seq: number
  readonly status: NodeStatus | undefined
  readonly tasks: ReadonlyMap<TaskId, TaskEntry>
  readonly alerts: ReadonlyMap<NodeId, Alert>
  readonly updates: ReadonlyMap<ServiceId, UpdateFacts>
  readonly rejections: ReadonlyMap<ServiceId, Rejection>
  readonly blocks: ReadonlyMap<ResourceId, BlockClaims>
  readonly guests: ReadonlyMap<GuestId, GuestEntry>
}

/**
 * Keys of a record's entries: `status`, `task/<TaskId>`, `alert/<NodeId>`, `update/<ServiceId>`, `rejection/<ServiceId>`,
 * `block/<ResourceId of a network>`, `guest/<GuestId>`.
 */
export type RecordKey = string

/** Changes of one's own record; `undefined` removes the entry. Applied as a whole or not at all. */
export type RecordChanges = ReadonlyMap<
  RecordKey,
  NodeStatus | TaskEntry | Alert | UpdateFacts | Rejection | BlockClaims | GuestEntry | undefined
>

export const recordKey = {
  status: 'status' as RecordKey,
  task: (id: TaskId): RecordKey => `task/${id}`,
  alert: (target: NodeId): RecordKey => `alert/${target}`,
  update: (service: ServiceId): RecordKey => `update/${service}`,
  rejection: (service: ServiceId): RecordKey => `rejection/${service}`,
  block: (network: ResourceId): RecordKey => `block/${network}`,
  guest: (id: GuestId): RecordKey => `guest/${id}`,
}
