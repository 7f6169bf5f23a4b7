import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { LoadOptions, LoadReport } from './data-plane.orders.ts'

export interface Flow {
  end(): Promise<LoadReport>
}

interface Tally {
  answers: number
  readonly failures: string[]
  longestMs: number
}

/** Far above a packet that is sent again, once or twice. */
const silenceMs = 5_000
const silence = `silent for ${silenceMs} ms`

/** Between a connection's questions: so many that none would go unnoticed, and time is left for what is tried meanwhile. */
const pauseMs = 2

/** Constant load: kept connections that ask again and again, and short ones. Whatever fails is told. */
export function putLoad({ to, port, kept, short }: LoadOptions): Flow {
  const tallies = { kept: tally(), short: tally() }
  const by = new Set<string>()
  const over = new AbortController()
  const isOver = (): boolean => over.signal.aborted
  const workers = [
    ...Array.from({ length: kept }, () => keepAsking(to, port, tallies.kept, isOver)),
    ...Array.from({ length: short }, async () => {
      while (!isOver()) {
        const name = await askOnce(to, port, tallies.short)
        if (name !== undefined) by.add(name)
        await delay(pauseMs)
      }
    }),
  ]
  return {
    async end() {
      over.abort()
      await Promise.all(workers)
      return { ...tallies, by: [...by].sort() }
    },
  }
}

function tally(): Tally {
  return { answers: 0, failures: [], longestMs: 0 }
}

function count(tally: Tally, sinceMs: number): void {
  tally.answers += 1
  tally.longestMs = Math.max(tally.longestMs, performance.now() - sinceMs)
}

function keepAsking(to: string, port: number, tally: Tally, isOver: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: to, port })
    let askedMs = performance.now()
    const ask = (): void => {
      if (isOver()) return void socket.destroy()
      askedMs = performance.now()
      socket.write('1\n')
    }
    socket.setTimeout(silenceMs, () => socket.destroy(new Error(silence)))
    socket.on('data', () => {
      count(tally, askedMs)
      setTimeout(ask, pauseMs)
    })
    socket.on('error', (error) => tally.failures.push(error.message))
    socket.on('close', () => {
      if (!isOver()) tally.failures.push('closed')
      resolve()
    })
  })
}

function askOnce(to: string, port: number, tally: Tally): Promise<string | undefined> {
  return new Promise((resolve) => {
    const askedMs = performance.now()
    const socket = connect({ host: to, port })
    let name: string | undefined
    socket.setTimeout(silenceMs, () => socket.destroy(new Error(silence)))
    socket.on('data', (data) => {
      name = data.toString().split(' ')[0]
      count(tally, askedMs)
      // Who closes first has the port in TIME_WAIT: a reset leaves none, so that the client never runs out of ports.
      socket.resetAndDestroy()
    })
    socket.on('error', (error) => tally.failures.push(error.message))
    socket.on('close', () => {
      if (name === undefined && tally.failures.length === 0) tally.failures.push('closed without an answer')
      resolve(name)
    })
  })
}
