import { createSocket } from 'node:dgram'
import { connect, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { createKernelDataPlane } from '../../packages/agent/src/adapters/kernel/data-plane.ts'
import { wireGuardKeyFile } from '../../packages/agent/src/wire-guard-keys.ts'
import type { HostGiven, Order, Reply } from './data-plane.orders.ts'
import { putLoad, type Flow } from './data-plane.load.ts'

/**
 * Lives in a network namespace and does there what it is told, a JSON line each: serves, asks, puts load on, and (where a
 * host's agent would be) keeps the kernel's data plane.
 */
const given = JSON.parse(process.argv[2]!) as HostGiven
const dataPlane = createKernelDataPlane({
  vni: 77,
  dnsPort: 7_453,
  wireGuard: { keyFile: (round) => wireGuardKeyFile(given.keyDirectory, round), device: given.device },
})
const flows = new Map<string, Flow>()

async function obey(order: Order): Promise<unknown> {
  const signal = AbortSignal.timeout(60_000)
  switch (order.do) {
    case 'serve':
      return serve(order.name, order.port)
    case 'ask':
      return order.protocol === 'tcp' ? askByTcp(order) : askByUdp(order)
    case 'hold':
      return order.protocol === 'tcp' ? holdByTcp(order) : holdByUdp(order)
    case 'begin':
      flows.set(order.name, putLoad(order))
      return undefined
    case 'end': {
      const flow = flows.get(order.name)
      flows.delete(order.name)
      return flow?.end()
    }
    case 'ability':
      return dataPlane.ability(signal)
    case 'apply': {
      const startMs = performance.now()
      await dataPlane.apply(order.plane, signalOf(order, signal))
      return performance.now() - startMs
    }
    case 'check':
      return dataPlane.check(signalOf(order, signal))
    case 'tunnel':
      return dataPlane.tunnel(signal)
    case 'clear':
      return dataPlane.clear(signal)
  }
}

function signalOf({ aborted }: { readonly aborted?: string }, otherwise: AbortSignal): AbortSignal {
  return aborted === undefined ? otherwise : AbortSignal.abort(new Error(aborted))
}

const goodbye = 'goodbye'

/** Says who it is and whom it sees; then answers each line, with as many bytes as the line says, until it is told to close. */
async function serve(name: string, port: number): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.write(`${name} ${socket.remoteAddress?.replace('::ffff:', '')}\n`)
    const lines = createInterface({ input: socket })
    lines.on('line', (line) =>
      line === goodbye ? socket.end() : socket.write(`${'x'.repeat(Number(line))}\n`),
    )
    lines.on('error', () => socket.destroy())
  })
  const datagrams = createSocket('udp4')
  datagrams.on('message', (_, from) => datagrams.send(`${name} ${from.address}\n`, from.port, from.address))
  await Promise.all([
    new Promise<void>((resolve) => server.listen({ port, host: '0.0.0.0', backlog: 1_024 }, resolve)),
    new Promise<void>((resolve) => datagrams.bind(port, '0.0.0.0', resolve)),
  ])
}

type Question = Extract<Order, { do: 'ask' }>

function askByTcp({ to, port, timeoutMs, bytes, fromPort, serverCloses }: Question): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: to, port, ...(fromPort !== undefined && { localPort: fromPort }) })
    let heard = ''
    const end = (answer: string): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answer)
    }
    const timer = setTimeout(() => end('silent'), timeoutMs)
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
    if (serverCloses === true) {
      socket.write(`${goodbye}\n`)
      socket.on('close', () => end(heard.trim()))
    }
    socket.on('data', (data) => {
      heard += data.toString()
      const lines = heard.split('\n')
      if (serverCloses === true) return
      if (bytes === undefined && lines.length > 1) end(lines[0] ?? '')
      else if (bytes !== undefined && lines.length > 2) end(`${lines[0]} ${lines[1]?.length}`)
    })
    // Large both ways: what is asked for is written as many times over.
    if (bytes !== undefined) socket.write(`${String(bytes).padStart(bytes, '0')}\n`)
  })
}

function askByUdp({ to, port, timeoutMs, fromPort }: Question): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4')
    const end = (answer: string): void => {
      clearTimeout(timer)
      socket.close()
      resolve(answer.trim())
    }
    const timer = setTimeout(() => end('silent'), timeoutMs)
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
    socket.on('message', (message) => end(message.toString()))
    // Connected, it is told of ICMP.
    socket.bind(fromPort ?? 0, () => socket.connect(port, to, () => socket.send('?')))
  })
}

type Holding = Extract<Order, { do: 'hold' }>
const lineTimeoutMs = 3_000

async function holdByTcp({ tos, port, fromPort }: Holding): Promise<readonly string[]> {
  const said: string[] = []
  const held: { readonly socket: Socket; readonly lines: AsyncIterator<string> }[] = []
  for (const to of tos) {
    const socket = connect({ host: to, port, localPort: fromPort })
    socket.setTimeout(lineTimeoutMs, () => socket.destroy(new Error('silent')))
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]()
    held.push({ socket, lines })
    said.push(await Promise.race([next(lines), failureOf(socket)]))
  }
  // Each is still whole when all others are there.
  for (const [index, { socket, lines }] of held.entries()) {
    socket.write('1\n')
    const answer = await Promise.race([next(lines), failureOf(socket)])
    if (answer !== 'x') said[index] = answer
  }
  // A reset leaves nothing in TIME_WAIT.
  for (const { socket } of held) socket.resetAndDestroy()
  return said
}

async function next(lines: AsyncIterator<string>): Promise<string> {
  const { done, value } = await lines.next()
  return done === true ? 'closed' : value
}

function failureOf(socket: Socket): Promise<string> {
  return new Promise((resolve) => socket.once('error', (error) => resolve(error.message)))
}

async function holdByUdp({ tos, port, fromPort }: Holding): Promise<readonly string[]> {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => socket.bind(fromPort, resolve))
  const said = new Map<string, string>()
  for (const to of [...tos, ...tos]) {
    said.delete(to)
    const answered = new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, lineTimeoutMs)
      const hear = (message: Buffer, from: { readonly address: string }): void => {
        if (from.address !== to) return
        said.set(to, message.toString().trim())
        clearTimeout(timer)
        socket.off('message', hear)
        resolve()
      }
      socket.on('message', hear)
    })
    socket.send('?', port, to)
    await answered
  }
  socket.close()
  return tos.map((to) => said.get(to) ?? 'silent')
}

const orders = createInterface({ input: process.stdin })
orders.on('close', () => process.exit())
orders.on('line', (line) => {
  const { id, order } = JSON.parse(line) as { readonly id: number; readonly order: Order }
  void obey(order).then(
    (value) => reply({ id, value }),
    (error: unknown) => {
      const { name, message } = error instanceof Error ? error : new Error(String(error))
      reply({ id, error: { name, message, code: (error as { code?: string }).code } })
    },
  )
})

function reply(told: Reply): void {
  process.stdout.write(`${JSON.stringify(told)}\n`)
}
