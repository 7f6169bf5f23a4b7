import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { defaults } from './defaults.ts'

describe('the agent as a process', () => {
  let directory: string
  let engine: Server
  const sockets = new Set<Socket>()
  const processes: ChildProcess[] = []

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'moot-main-'))
    engine = createServer((socket) => {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.once('close', () => sockets.delete(socket))
    })
    engine.listen(join(directory, 'docker.sock'))
    await once(engine, 'listening')
  })
  afterEach(async () => {
    for (const child of processes.splice(0)) if (child.exitCode === null) child.kill('SIGKILL')
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => {
      engine.close(resolve)
    })
    rmSync(directory, { recursive: true })
  })

  /** An engine that accepts every connection and never says a word. */
  const hungEngine = (): Record<string, string> => ({ 'docker-socket': join(directory, 'docker.sock') })

  interface Run {
    readonly child: ChildProcess
    output(): string
    until(text: string): Promise<void>
    readonly ended: Promise<number | null>
  }
  function run(options: Readonly<Record<string, string>> = {}): Run {
    const settings = {
      'data-dir': join(directory, 'data'),
      socket: join(directory, 'moot.sock'),
      'docker-socket': join(directory, 'no-engine.sock'),
      'mesh-port': '0',
      advertise: '127.0.0.1',
      ...options,
    }
    const argv = Object.entries(settings).map(([name, value]) => `--${name}=${value}`)
    const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...argv])
    processes.push(child)
    let output = ''
    const listeners = new Set<() => void>()
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (bytes: Buffer) => {
        output += bytes.toString()
        for (const listener of listeners) listener()
      })
    }
    const ended = once(child, 'close').then(([code]) => code as number | null)
    return {
      child,
      output: () => output,
      ended,
      async until(text) {
        await new Promise<void>((resolve, reject) => {
          const look = (): void => {
            if (output.includes(text)) resolve()
          }
          listeners.add(look)
          look()
          void ended.then(() => reject(new Error(`it ended without saying "${text}":\n${output}`)))
        })
      },
    }
  }
  async function init(): Promise<void> {
    const { request } = await import('node:http')
    const headers = { 'content-type': 'application/json' }
    const path = '/moot/v1/init'
    const asked = request({ socketPath: join(directory, 'moot.sock'), path, method: 'POST', headers })
    asked.end('{}')
    const [answer] = (await once(asked, 'response')) as [{ statusCode: number; resume(): void }]
    answer.resume()
    expect(answer.statusCode).toBe(200)
  }

  it('ends within its bound on SIGTERM although its engine never answers', async () => {
    const agent = run(hungEngine())
    await agent.until('agent is ready')
    await init()
    const startedMs = performance.now()
    agent.child.kill('SIGTERM')
    expect(await agent.ended).toBe(0)
    expect(performance.now() - startedMs).toBeLessThan(defaults.agentStopTimeoutMs + 1_000)
    expect(agent.output()).toContain('containers keep running')
  })

  it('ends on a SIGTERM that comes while it starts', async () => {
    const agent = run({ ...hungEngine(), 'log-level': 'debug' })
    // Its store is there, so its signals are handled; its API waits for the engine.
    while (!existsSync(join(directory, 'moot.sock')))
      await new Promise((resolve) => {
        setTimeout(resolve, 5)
      })
    agent.child.kill('SIGTERM')
    expect(await agent.ended).toBe(0)
    expect(agent.output()).not.toContain('unhandled')
  })

  it('starts neither with the data nor on the socket of a living agent, and leaves that one alone', async () => {
    const first = run()
    await first.until('agent is ready')
    const sameData = run({ socket: join(directory, 'other.sock') })
    const sameSocket = run({ 'data-dir': join(directory, 'other') })
    expect(await sameData.ended).toBe(1)
    expect(sameData.output()).toContain('another agent runs with the data directory')
    expect(await sameSocket.ended).toBe(1)
    expect(sameSocket.output()).toContain('another program answers on')
    await init()
  })

  it('ends when its mesh port is taken', async () => {
    const first = run()
    await first.until('agent is ready')
    await init()
    first.child.kill('SIGTERM')
    await first.ended
    const taken = createServer().listen(0, '0.0.0.0')
    await once(taken, 'listening')
    const { port } = taken.address() as { port: number }
    const again = run({ 'mesh-port': String(port) })
    expect(await again.ended).toBe(1)
    expect(again.output()).toMatch(/in use/i)
    taken.close()
  })
})
