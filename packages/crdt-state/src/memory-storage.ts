import { StorageFailedError, StoreClosedError } from './errors.ts'
import type { DamagedObject, Storage, StorageWrite, StoredObject, Table } from './storage.ts'

interface Landed {
  readonly landed: number
  readonly torn?: boolean
}

/** The in-memory twin of the sqlite storage, with the faults that a disk has. */
export interface MemoryStorage extends Storage {
  /**
   * Power off: what was not committed is lost, pending commits reject. The same object is the disk afterwards. The first
   * `landed` of them are on the disk all the same: a write may get there, and its answer not back. `torn`: of the last
   * of those, only a part did.
   */
  crash(options?: Landed): void
  /**
   * Another handle on the same disk, after a crash or a close: this one is dead from now on (its commits reject), so
   * that what is left of a stopped agent writes nothing behind its successor's back.
   */
  reopen(options?: Landed): MemoryStorage
  /** The next commit fails with this error and changes nothing. */
  failNext(error: Error): void
  /** From now on every commit fails for want of room, or no longer. */
  fill(full: boolean): void
  /** What is on the disk. */
  objects(): readonly { readonly table: Table; readonly key: string }[]
  /** Damages a stored object; the next read sets it aside. */
  corrupt(table: Table, key: string): void
  /** From now on each fsync takes as long as what this returns. */
  syncTakes(wait: () => Promise<void>): void
  /** Commits wait (a slow fsync) until the returned function is called. */
  holdSync(): () => void
  /** How many times the disk was synced: group commits make it fewer than the commits. */
  syncs(): number
}

interface StoredValue {
  readonly table: Table
  readonly key: string
  readonly bytes: Uint8Array
  readonly damaged: boolean
}

interface PendingCommit {
  readonly writes: readonly StorageWrite[]
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export function memoryStorage(): MemoryStorage {
  return new MemoryStorageTwin(new Map())
}

class MemoryStorageTwin implements MemoryStorage {
  readonly #disk: Map<string, StoredValue>
  /** Written, not synced: visible to reads, lost by a crash. */
  #cached: StorageWrite[] = []
  #pending: PendingCommit[] = []
  #damaged: DamagedObject[] = []
  #failures: Error[] = []
  #full = false
  #wait: (() => Promise<void>) | undefined
  #held: Promise<void> | undefined
  #flushing: Promise<void> | undefined
  #generation = 0
  #syncs = 0
  #dead = false

  constructor(disk: Map<string, StoredValue>) {
    this.#disk = disk
  }

  async commit(writes: readonly StorageWrite[]): Promise<void> {
    if (this.#dead) throw new StoreClosedError()
    await new Promise<void>((resolve, reject) => {
      this.#pending.push({ writes: writes.map(copied), resolve, reject })
      this.#flushing ??= this.#flush()
    })
  }

  async #flush(): Promise<void> {
    const generation = this.#generation
    while (this.#pending.length > 0) {
      // One turn later, so that commits made together become one, as in the real adapter.
      await Promise.resolve()
      if (this.#held !== undefined) await this.#held
      if (this.#wait !== undefined) await this.#wait()
      if (generation !== this.#generation) return
      this.#sync(this.#pending.splice(0))
    }
    this.#flushing = undefined
  }

  #sync(batch: readonly PendingCommit[]): void {
    this.#syncs += 1
    if (!this.#full) for (const write of this.#cached.splice(0)) this.#apply(write)
    for (const { writes, resolve, reject } of batch) {
      const failure = this.#full ? new Error('database or disk is full') : this.#failures.shift()
      if (failure !== undefined) {
        reject(new StorageFailedError(describeWrites(writes), failure))
        continue
      }
      for (const write of writes) this.#apply(write)
      resolve()
    }
  }

  #apply(write: StorageWrite): void {
    const { table, key } = write
    if (write.kind === 'delete') this.#disk.delete(`${table}\0${key}`)
    else this.#disk.set(`${table}\0${key}`, { table, key, bytes: write.bytes, damaged: false })
  }

  cache(writes: readonly StorageWrite[]): void {
    if (this.#dead) return
    this.#cached.push(...writes.map(copied))
  }

  get(table: Table, key: string): Uint8Array | undefined {
    const cached = this.#cached.findLast((write) => write.table === table && write.key === key)
    if (cached !== undefined) return cached.kind === 'put' ? Uint8Array.from(cached.bytes) : undefined
    const found = this.#disk.get(`${table}\0${key}`)
    return found === undefined ? undefined : this.#checked(found)
  }

  list(table: Table): readonly StoredObject[] {
    const keys = new Set([...this.#disk.values(), ...this.#cached].filter(isIn(table)).map(({ key }) => key))
    return [...keys].sort().flatMap((key) => {
      const bytes = this.get(table, key)
      return bytes === undefined ? [] : [{ table, key, bytes }]
    })
  }

  #checked({ table, key, bytes, damaged }: StoredValue): Uint8Array | undefined {
    if (!damaged) return Uint8Array.from(bytes)
    this.#disk.delete(`${table}\0${key}`)
    this.#damaged.push({ table, key, setAsideAs: `set_aside/${this.#damaged.length + 1}` })
    return undefined
  }

  damaged(): readonly DamagedObject[] {
    return [...this.#damaged]
  }

  crash({ landed, torn = false }: Landed = { landed: 0 }): void {
    this.#generation += 1
    this.#flushing = undefined
    this.#held = undefined
    this.#cached = []
    for (const [index, { writes, reject }] of this.#pending.splice(0).entries()) {
      if (index < landed) for (const write of writes) this.#apply(write)
      const last = writes.at(-1)
      if (torn && index === landed - 1 && last?.kind === 'put') this.corrupt(last.table, last.key)
      reject(new StorageFailedError(describeWrites(writes), new Error('the power went off')))
    }
  }

  reopen(options?: Landed): MemoryStorage {
    this.crash(options)
    this.#dead = true
    return new MemoryStorageTwin(this.#disk)
  }

  failNext(error: Error): void {
    this.#failures.push(error)
  }

  fill(full: boolean): void {
    this.#full = full
  }

  syncTakes(wait: () => Promise<void>): void {
    this.#wait = wait
  }

  objects(): readonly { readonly table: Table; readonly key: string }[] {
    return [...this.#disk.values()].map(({ table, key }) => ({ table, key }))
  }

  corrupt(table: Table, key: string): void {
    const found = this.#disk.get(`${table}\0${key}`)
    if (found === undefined) throw new Error(`no ${table}/${key} to corrupt`)
    this.#disk.set(`${table}\0${key}`, { ...found, damaged: true })
  }

  holdSync(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#held = promise
    return () => {
      this.#held = undefined
      resolve()
    }
  }

  syncs(): number {
    return this.#syncs
  }

  async close(): Promise<void> {
    await this.#flushing
    for (const write of this.#cached.splice(0)) this.#apply(write)
    // The object stays readable as the disk: opening a store on it again is what a restart does.
  }
}

function isIn(table: Table): (object: { readonly table: Table }) => boolean {
  return (object) => object.table === table
}

function copied(write: StorageWrite): StorageWrite {
  return write.kind === 'put' ? { ...write, bytes: Uint8Array.from(write.bytes) } : write
}

/** `document/abc and 2 more`, for error messages. */
export function describeWrites(writes: readonly StorageWrite[]): string {
  const [first] = writes
  if (first === undefined) return 'nothing'
  const rest = writes.length - 1
  return `${first.table}/${first.key}${rest === 0 ? '' : ` and ${rest} more`}`
}
