import { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import type { Defaults } from '../../../defaults.ts'
import type { FromThread, ThreadSetup, ToThread } from './messages.ts'
import { ageUnitMs } from './packet.ts'
import { SharedCells } from './shared-cells.ts'

interface SupervisorOptions {
  readonly settings: Defaults
  readonly logger: Logger
  /** A thread begins, and knows nothing yet: what to tell it. */
  started(): readonly ToThread[]
  heard(message: FromThread): void
  /** It is gone, and what it was asked with it. */
  ended(): void
}

/** Beside the bundle when the agent is bundled (scripts/build.ts), else the source. */
function threadFile(): URL {
  const name = import.meta.url.endsWith('.mjs') ? './datagram-thread.mjs' : './thread/main.ts'
  return new URL(name, import.meta.url)
}

/** Keeps the thread running, and stamps the cells in which it sees that the main loop turns. */
export class Supervisor {
  readonly cells = new SharedCells()
  readonly #options: SupervisorOptions
  #worker: Worker | undefined
  #stamping: NodeJS.Timeout | undefined
  #restart: NodeJS.Timeout | undefined
  #restartMs: number
  #stopping = false

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#restartMs = options.settings.datagramRestartFirstMs
  }

  start(setup: Omit<ThreadSetup, 'settings' | 'shared'>): void {
    if (this.#stopping) return
    this.cells.stamp()
    this.#stamping = setInterval(() => this.cells.stamp(), ageUnitMs).unref()
    this.#run({ ...setup, settings: this.#options.settings, shared: this.cells.buffer })
  }
  #run(setup: ThreadSetup): void {
    const { settings, logger } = this.#options
    const startMs = performance.now()
    const worker = new Worker(threadFile(), {
      name: 'moot datagrams',
      workerData: setup,
      // Not the options that the agent's Node was started with (an entry in its arguments is no entry here).
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: settings.datagramHeapMb, maxYoungGenerationSizeMb: 1 },
    })
    this.#worker = worker
    let why: unknown
    worker.on('message', (message: FromThread) => this.#options.heard(message))
    worker.on('error', (error) => (why = error))
    worker.on('exit', (code) => {
      this.#worker = undefined
      this.#options.ended()
      if (this.#stopping) return
      if (performance.now() - startMs > settings.datagramRestartMaxMs) {
        this.#restartMs = settings.datagramRestartFirstMs
      }
      logger.warn(
        { err: why, code, againInMs: this.#restartMs },
        'the thread that answers probes ended; until it is started again they go over the mesh connections',
      )
      this.#restart = setTimeout(() => this.#run(setup), this.#restartMs).unref()
      this.#restartMs = Math.min(settings.datagramRestartMaxMs, 2 * this.#restartMs)
    })
    // The agent ends when its main loop has nothing left to do, whatever the thread waits for. (Listening to messages
    // holds the loop again, so this comes last.)
    worker.unref()
    for (const message of this.#options.started()) this.tell(message)
  }

  tell(message: ToThread): void {
    this.#worker?.postMessage(message)
  }

  async stop(): Promise<void> {
    this.#stopping = true
    clearInterval(this.#stamping)
    clearTimeout(this.#restart)
    await this.#worker?.terminate()
  }
}
