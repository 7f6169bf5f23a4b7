import type { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'

/** One end of what is passed on. */
export interface End {
  readonly readable: Readable
  readonly writable: Writable
  /** Breaks it off, so that the other side can tell that from an end. */
  readonly reset: () => void
}

export function socketEnd(socket: Socket): End {
  return {
    readable: socket,
    writable: socket,
    reset: () => {
      if (!socket.destroyed) socket.resetAndDestroy()
    },
  }
}

/** Passes on what comes from either end to the other, and no faster than that one takes it. Each may end while the other goes on; where one breaks both do. */
export function joinEnds(one: End, other: End, over: () => void): void {
  let open = 2
  const sideIsOver = (): void => {
    open -= 1
    if (open === 0) over()
  }
  passOn(one, other, sideIsOver)
  passOn(other, one, sideIsOver)
}

function passOn(from: End, to: End, over: () => void): void {
  let isOver = false
  const end = (): void => {
    if (!isOver) over()
    isOver = true
  }
  const breakOff = (): void => {
    from.reset()
    to.reset()
    end()
  }
  from.readable.on('error', breakOff)
  to.writable.on('error', breakOff)
  from.readable.on('close', () => {
    if (!from.readable.readableEnded) breakOff()
  })
  to.writable.on('close', () => {
    if (!to.writable.writableFinished) breakOff()
  })
  to.writable.on('finish', end)
  from.readable.pipe(to.writable)
}
