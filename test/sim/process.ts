import type { ContainerId, Storage } from '@moot/crdt-state'
import type { ContainerObservation, TaskSetup } from '../../packages/agent/src/core/reconcile/actions.ts'
import type { BootMemory } from '../../packages/agent/src/ports/boot-memory.ts'
import type { Clock } from '../../packages/agent/src/ports/clock.ts'
import { sleepBy } from '../../packages/agent/src/ports/clock.ts'
import type { Engine } from '../../packages/agent/src/ports/engine.ts'
import type { DataPlane } from '../../packages/agent/src/ports/data-plane.ts'
import type { Prober } from '../../packages/agent/src/ports/prober.ts'
import type { Witness } from '../../packages/agent/src/ports/witness.ts'
import type { Mesh } from '../../packages/agent/src/ports/mesh.ts'

/**
 * One life of an agent's process. All that the agent does to the world, and all that it hears back, goes through here:
 * so it can be killed between any two effects, and stopped for a while like a process that collects garbage. What is
 * left of a killed agent's code waits for ever and changes nothing.
 */
export class Life {
  /** Effects begun so far. */
  effects = 0
  #alive = true
  #held: (() => void)[] | undefined
  #dieAt: number | undefined
  readonly #onKill: (() => void)[] = []

  get alive(): boolean {
    return this.#alive
  }

  kill(): void {
    if (!this.#alive) return
    this.#alive = false
    this.#held = undefined
    for (const listener of this.#onKill.splice(0)) listener()
  }

  onKill(listener: () => void): void {
    this.#onKill.push(listener)
  }

  /** Killed at the `count`th half of an effect from now: an odd one before it happens, an even one before it is told. */
  killAt(count: number): void {
    this.#dieAt = this.effects + count
  }

  pause(): void {
    this.#held ??= []
  }

  resume(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const run of held) this.run(run)
  }

  /** Now, or when the process goes on; never if it does not. */
  run(callback: () => void): void {
    if (!this.#alive) return
    if (this.#held === undefined) callback()
    else this.#held.push(callback)
  }

  async effect<T>(work: () => Promise<T>): Promise<T> {
    if (this.#mustWait()) await this.awake()
    try {
      return await work()
    } finally {
      if (this.#mustWait()) await this.awake()
    }
  }

  #mustWait(): boolean {
    this.effects += 1
    if (this.effects === this.#dieAt) this.kill()
    return !this.#alive || this.#held !== undefined
  }

  awake(): Promise<void> {
    return new Promise((resolve) => {
      this.run(resolve)
    })
  }
}

/** How a process's clock differs from its host's own, which the boot clock is. */
export interface Drift {
  /** Of what is monotonic for it: 1.1 = a tenth fast. Holds for timers that are set from now on. */
  rate: number
  wallOffsetMs: number
}

export function processClock(host: Clock, drift: Drift, life: Life): Clock {
  let lastMs = host.monotonicMs()
  let ownMs = 0
  const after: Clock['after'] = (ms, callback) => {
    // A timer that fell due while the process stood still can be cancelled before it runs.
    let isCancelled = false
    const cancel = host.after(ms / drift.rate, () => {
      life.run(() => {
        if (!isCancelled) callback()
      })
    })
    return () => {
      isCancelled = true
      cancel()
    }
  }
  return {
    monotonicMs() {
      const nowMs = host.monotonicMs()
      ownMs += (nowMs - lastMs) * drift.rate
      lastMs = nowMs
      return ownMs
    },
    bootMs: () => host.bootMs(),
    wallMs: () => Math.floor(host.wallMs() + drift.wallOffsetMs),
    after,
    sleep: sleepBy(after),
  }
}

/** @param onCommit told when a commit is on its way to the disk. */
export function processStorage(disk: Storage, life: Life, onCommit: () => void): Storage {
  return {
    commit: (writes) =>
      life.effect(() => {
        const done = disk.commit(writes)
        onCommit()
        return done
      }),
    cache(writes) {
      if (life.alive) disk.cache(writes)
    },
    get: (table, key) => disk.get(table, key),
    list: (table) => disk.list(table),
    damaged: () => disk.damaged(),
    close: () => (life.alive ? disk.close() : Promise.resolve()),
  }
}

export interface EngineAsks {
  /** What an event spoke of, as it is now: of what an event tells the real adapter asks the engine once it is read. */
  readonly now: (told: ContainerObservation) => ContainerObservation
  /** Told what the agent itself asks of its engine, before the engine does it. */
  readonly onCreate: (setup: TaskSetup) => void
  /** To stop or remove a container that runs. */
  readonly onStop: (container: ContainerId) => void
}

export function processEngine(engine: Engine, life: Life, { now, onCreate, onStop }: EngineAsks): Engine {
  return {
    facts: (signal) => life.effect(() => engine.facts(signal)),
    list: (signal) => life.effect(() => engine.list(signal)),
    volumes: (signal) => life.effect(() => engine.volumes(signal)),
    hasEnded: (container) => engine.hasEnded(container),
    async *events(signal) {
      for await (const event of engine.events(signal)) {
        await life.awake()
        yield event.kind === 'container' ? { ...event, observation: now(event.observation) } : event
      }
    },
    prepare: (setup, signal) => life.effect(() => engine.prepare(setup, signal)),
    create: (setup, signal) =>
      life.effect(() => {
        onCreate(setup)
        return engine.create(setup, signal)
      }),
    start: (container, signal) => life.effect(() => engine.start(container, signal)),
    stop: (container, graceMs, signal) =>
      life.effect((): Promise<ContainerObservation | undefined> => {
        onStop(container)
        return engine.stop(container, graceMs, signal)
      }),
    remove: (container, signal) =>
      life.effect(() => {
        onStop(container)
        return engine.remove(container, signal)
      }),
    network: (overlay, signal) => life.effect(() => engine.network(overlay, signal)),
    guests: (signal) => life.effect(() => engine.guests(signal)),
    detach: (guest, signal) => life.effect(() => engine.detach(guest, signal)),
    sweep: (wanted, signal) => life.effect(() => engine.sweep(wanted, signal)),
    logs: (container, query, signal) => life.effect(() => engine.logs(container, query, signal)),
  }
}

/** What it keeps outlives the process, and not the host's power. */
export function processBootMemory(memory: BootMemory, life: Life): BootMemory {
  return {
    read: () => memory.read(),
    write: (text) => life.effect(() => memory.write(text)),
    forget() {
      if (life.alive) memory.forget()
    },
  }
}

export function processWitness(witness: Witness, life: Life): Witness {
  return {
    start() {
      if (life.alive) witness.start()
    },
    stop() {
      if (life.alive) witness.stop()
    },
    ask: (timeoutMs) => life.effect(() => witness.ask(timeoutMs)),
  }
}

export function processProber(prober: Prober, life: Life): Prober {
  return { probe: (question, signal) => life.effect(() => prober.probe(question, signal)) }
}

export function processDataPlane(kernel: DataPlane, life: Life): DataPlane {
  return {
    ability: (signal) => life.effect(() => kernel.ability(signal)),
    apply: (plane, signal) => life.effect(() => kernel.apply(plane, signal)),
    check: (signal) => life.effect(() => kernel.check(signal)),
    isIntact: () => kernel.isIntact(),
    tunnel: (signal) => life.effect(() => kernel.tunnel(signal)),
    clear: (signal) => life.effect(() => kernel.clear(signal)),
  }
}

/** What comes in is held back by the network while the process is stopped; what goes out passes here. */
export function processMesh(mesh: Mesh, life: Life): Mesh {
  return {
    self: mesh.self,
    addresses: () => mesh.addresses(),
    peers: () => mesh.peers(),
    setMembers(members) {
      if (life.alive) mesh.setMembers(members)
    },
    onPeer: (listener) =>
      mesh.onPeer((event) => {
        life.run(() => listener(event))
      }),
    start: () => life.effect(() => mesh.start()),
    stop: () => (life.alive ? mesh.stop() : Promise.resolve()),
    publish: (topic, payload) => life.effect(() => mesh.publish(topic, payload)),
    onGossip: (topic, listener) => mesh.onGossip(topic, listener),
    request: (node, protocol, payload, signal) =>
      life.effect(() => mesh.request(node, protocol, payload, signal)),
    onRequest: (protocol, handler) => mesh.onRequest(protocol, handler),
    openStream: (node, protocol, signal) => life.effect(() => mesh.openStream(node, protocol, signal)),
    onStream: (protocol, handler) => mesh.onStream(protocol, handler),
    quietMs: (node) => mesh.quietMs(node),
    probe: (node, timeoutMs) => life.effect(() => mesh.probe(node, timeoutMs)),
    join: (issuer, addresses, request, signal) =>
      life.effect(() => mesh.join(issuer, addresses, request, signal)),
    onJoin: (handler) => mesh.onJoin(handler),
    onFarewell: (listener) => mesh.onFarewell(listener),
  }
}
