import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type ApiBed, apiBed } from '../../packages/agent/src/api/testing/api-bed.ts'

let bed: ApiBed
beforeEach(async () => {
  bed = await apiBed()
})
afterEach(async () => bed.stop())

test('what is not the cluster’s goes to the engine as it is, with a version that the engine speaks', async () => {
  bed.engine.answer = (req, res) => {
    if (!req.url?.startsWith('/v1.41/containers')) return false
    res.writeHead(200, { 'Content-Type': 'application/json', 'X-Own': 'yes' })
    res.end('[1]')
    return true
  }
  const answer = await bed.call(
    'GET',
    '/v1.50/containers/json?all=1&filters=%7B%22a%22%3A%5B%22b%20c%22%5D%7D',
  )
  expect([answer.status, answer.body, answer.headers['x-own']]).toEqual([200, [1], 'yes'])
  const url = new URL(bed.engine.requests.at(-1)!.replace('GET ', 'http://docker'))
  expect(url.pathname).toBe('/v1.41/containers/json')
  expect(url.searchParams.get('filters')).toBe('{"a":["b c"]}')
  await bed.call('GET', '/v1.30/containers/json')
  expect(bed.engine.requests.at(-1)).toBe('GET /v1.30/containers/json')
  await bed.call('GET', '/containers/json')
  expect(bed.engine.requests.at(-1)).toBe('GET /containers/json')
})

test('the engine’s errors pass through as they are', async () => {
  const answer = await bed.call('DELETE', '/v1.41/containers/none')
  expect([answer.status, answer.body]).toEqual([404, { message: 'no such thing: /containers/none' }])
})

test('an upload streams to the engine while its output streams back', async () => {
  bed.engine.answer = (req, res) => {
    if (!req.url?.startsWith('/build')) return false
    res.writeHead(200, { 'Content-Type': 'application/json' })
    req.on('data', (chunk: Buffer) => res.write(`got ${chunk.length};`))
    req.on('end', () => res.end('done'))
    return true
  }
  const sent = request({
    socketPath: bed.socketPath,
    method: 'POST',
    path: '/build',
    headers: { 'Transfer-Encoding': 'chunked' },
  })
  sent.write('x'.repeat(10))
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  answer.setEncoding('utf8')
  const [first] = (await once(answer, 'data')) as [string]
  expect(first).toBe('got 10;')
  sent.end('y'.repeat(20))
  let rest = ''
  for await (const chunk of answer) rest += String(chunk)
  expect(rest).toBe('got 20;done')
})

test('an upload larger than any body of ours passes, whole', async () => {
  bed.engine.answer = (req, res) => {
    if (req.url !== '/images/load') return false
    let size = 0
    req.on('data', (chunk: Buffer) => (size += chunk.length))
    req.on('end', () => res.end(String(size)))
    return true
  }
  const sent = request({ socketPath: bed.socketPath, method: 'POST', path: '/images/load' })
  const piece = Buffer.alloc(1024 * 1024)
  for (let at = 0; at < 20; at++) if (!sent.write(piece)) await once(sent, 'drain')
  sent.end()
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  const [text] = (await once(answer, 'data')) as [Buffer]
  expect(text.toString()).toBe(String(20 * 1024 * 1024))
})

test('an engine that refuses an upload midway is heard', async () => {
  bed.engine.answer = (req, res) => {
    if (req.url !== '/build') return false
    req.once('data', () => {
      res.writeHead(400, { 'Content-Type': 'application/json', Connection: 'close' })
      res.end('{"message":"no Dockerfile"}')
    })
    return true
  }
  const sent = request({ socketPath: bed.socketPath, method: 'POST', path: '/build' })
  sent.on('error', () => undefined)
  sent.write(Buffer.alloc(256 * 1024))
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  const [text] = (await once(answer, 'data')) as [Buffer]
  expect([answer.statusCode, text.toString()]).toEqual([400, '{"message":"no Dockerfile"}'])
  sent.destroy()
})

test('the head of a silent stream reaches the client at once', async () => {
  bed.engine.answer = (req, res) => {
    if (!req.url?.startsWith('/containers/a/logs')) return false
    res.writeHead(200, { 'Content-Type': 'application/vnd.docker.raw-stream' })
    res.flushHeaders()
    return true
  }
  const sent = request({ socketPath: bed.socketPath, path: '/containers/a/logs?follow=1' }).end()
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  expect(answer.headers['content-type']).toBe('application/vnd.docker.raw-stream')
  sent.destroy()
})

test('a client that goes away ends its request at the engine', async () => {
  const ended = new Promise<void>((resolve) => {
    bed.engine.answer = (req, res) => {
      if (req.url !== '/containers/a/stats') return false
      res.once('close', resolve)
      res.writeHead(200)
      res.write('first')
      return true
    }
  })
  const sent = request({ socketPath: bed.socketPath, path: '/containers/a/stats' }).end()
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  await once(answer, 'data')
  sent.destroy()
  await expect(ended).resolves.toBeUndefined()
})

test('an engine that goes away midway cuts the client’s answer, so that it is not taken for whole', async () => {
  bed.engine.answer = (req, res) => {
    if (req.url !== '/containers/a/export') return false
    res.writeHead(200)
    res.write('half')
    setImmediate(() => res.destroy())
    return true
  }
  await expect(bed.call('GET', '/containers/a/export')).rejects.toThrow(/aborted|hang up|terminated/)
})

test('while the engine is down, its part answers 503 with a reason and Moot’s part works on', async () => {
  await bed.engine.stop()
  const containers = await bed.call('GET', '/containers/json')
  expect([containers.status, containers.text]).toEqual([
    503,
    expect.stringContaining("this node's Docker engine does not answer"),
  ])
  expect((await bed.call('GET', '/_ping')).headers['api-version']).toBe('1.41')
  expect((await bed.call('GET', '/info')).body).toMatchObject({
    Swarm: { LocalNodeState: 'active', ControlAvailable: true, Nodes: 3 },
  })
  expect((await bed.call('GET', '/version')).body).toMatchObject({ ApiVersion: '1.41' })
  expect((await bed.call('GET', '/services')).body).toEqual([])
  expect((await bed.call('GET', '/networks')).body).toEqual([])
  const create = await bed.call('POST', '/containers/create', { Image: 'a' })
  expect(create.status).toBe(503)
})

test('a network that is not the cluster’s is the engine’s, with its whole body', async () => {
  let received = ''
  bed.engine.answer = (req, res) => {
    if (req.method !== 'POST') return false
    req.on('data', (chunk: Buffer) => (received += chunk.toString()))
    req.on('end', () => {
      res.writeHead(201, { 'Content-Type': 'application/json' })
      res.end('{"Id":"local","Warning":""}')
    })
    return true
  }
  const body = { Name: 'mine', Driver: 'bridge', Options: { a: 'b' } }
  const answer = await bed.call('POST', '/v1.41/networks/create', body)
  expect([answer.status, answer.body]).toEqual([201, { Id: 'local', Warning: '' }])
  expect(JSON.parse(received)).toEqual(body)
})

/** As Docker's CLI attaches: POST, `Upgrade: tcp`, then raw bytes both ways. */
function hijack(path: string, body = ''): Socket {
  const socket = connect({ path: bed.socketPath, allowHalfOpen: true })
  const length = body === '' ? '' : `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n${length}\r\n${body}`,
  )
  return socket
}

async function readAll(socket: Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}

test('a hijacked connection carries bytes both ways, and ending the input still gets the whole output', async () => {
  bed.engine.upgrade = (_req, socket, head) => {
    socket.write(
      'HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n',
    )
    let input = head.toString()
    socket.on('data', (chunk: Buffer) => (input += chunk.toString()))
    // Answers only after the end of the input, as `docker run -i … wc -c` does.
    socket.on('end', () => socket.end(`counted ${input.length}`))
  }
  const socket = hijack('/v1.50/containers/abc/attach?stream=1&stdin=1&stdout=1')
  socket.write('hello ')
  socket.end('x'.repeat(200_000))
  const text = await readAll(socket)
  expect(text).toMatch(/^HTTP\/1\.1 101 UPGRADED\r\n/)
  expect(text).toMatch(/\r\n\r\ncounted 200006$/)
  expect(bed.engine.requests.at(-1)).toBe('POST /v1.41/containers/abc/attach?stream=1&stdin=1&stdout=1')
})

test('output that ends first leaves the input open', async () => {
  const received = new Promise<string>((resolve) => {
    bed.engine.upgrade = (_req, socket) => {
      socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nbye')
      socket.end()
      let input = ''
      socket.on('data', (chunk: Buffer) => (input += chunk.toString()))
      socket.on('end', () => resolve(input))
    }
  })
  const socket = hijack('/containers/abc/attach')
  expect(await readAll(socket)).toMatch(/\r\n\r\nbye$/)
  socket.end('still said')
  expect(await received).toBe('still said')
})

test('exec start passes its body before the stream begins', async () => {
  bed.engine.upgrade = (req, socket, head) => {
    const length = Number(req.headers['content-length'])
    let input = head
    const read = (): void => {
      if (input.length < length) return
      socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n')
      socket.end(`body ${input.subarray(0, length).toString()}`)
    }
    socket.on('data', (chunk: Buffer) => {
      input = Buffer.concat([input, chunk])
      read()
    })
    read()
  }
  const socket = hijack('/exec/e1/start', '{"Detach":false,"Tty":true}')
  expect(await readAll(socket)).toMatch(/body \{"Detach":false,"Tty":true\}$/)
  socket.destroy()
})

test('an engine that refuses to be hijacked answers in plain HTTP, and the connection ends', async () => {
  bed.engine.upgrade = (_req, socket) => {
    const body = '{"message":"No such container: abc"}'
    socket.write(
      `HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
  }
  const socket = hijack('/containers/abc/attach')
  const text = await readAll(socket)
  expect(text).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/)
  expect(text).toMatch(/connection: close/i)
  expect(text).toMatch(/No such container: abc/)
  socket.destroy()
})

test('a hijack while the engine is down answers 503', async () => {
  await bed.engine.stop()
  const socket = hijack('/containers/abc/attach')
  expect(await readAll(socket)).toMatch(/^HTTP\/1\.1 503 /)
  socket.destroy()
})

test('a client that breaks a hijacked connection breaks it at the engine, and the other way round', async () => {
  const broken = new Promise<void>((resolve) => {
    bed.engine.upgrade = (_req, socket) => {
      socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhi')
      socket.on('error', () => undefined)
      socket.once('close', resolve)
      // The end of the input alone may be a half-close; it shows when output can no longer be delivered.
      socket.on('data', () => undefined)
      socket.on('end', () => {
        const more = setInterval(() => socket.write('more'), 5)
        socket.once('close', () => clearInterval(more))
      })
    }
  })
  const socket = hijack('/containers/abc/attach')
  await once(socket, 'data')
  socket.destroy()
  await broken
  bed.engine.upgrade = (_req, other) => {
    other.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhi')
    setImmediate(() => other.destroy())
  }
  const second = hijack('/containers/abc/attach')
  second.on('error', () => undefined)
  second.resume()
  // What we still say finds nobody: the connection is closed, not half open.
  const more = setInterval(() => second.write('more'), 5)
  const closed = new Promise<boolean>((resolve) => second.once('close', () => resolve(true)))
  expect(await closed).toBe(true)
  clearInterval(more)
})

test('output is not lost when the process no longer takes its input', async () => {
  bed.engine.upgrade = (_req, socket) => {
    socket.on('error', () => undefined)
    socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n')
    socket.once('data', () => {
      socket.write('x'.repeat(1_000_000))
      socket.end('the last line', () => socket.destroy())
    })
  }
  const socket = hijack('/containers/abc/attach')
  socket.on('error', () => undefined)
  const input = setInterval(() => socket.write('more input'), 1)
  const text = await readAll(socket)
  clearInterval(input)
  socket.destroy()
  expect(text).toMatch(/x{1000}the last line$/)
})

test('a request of ours that asks for an upgrade is answered as any other', async () => {
  const answer = await bed.call('GET', '/services', undefined, {
    Connection: 'Upgrade, HTTP2-Settings',
    Upgrade: 'h2c',
    'HTTP2-Settings': 'AAMAAABkAAQAAP__',
  })
  expect([answer.status, answer.body]).toEqual([200, []])
})

test('closing the server ends streams and hijacked connections', async () => {
  bed.engine.upgrade = (_req, socket) => {
    socket.on('error', () => undefined)
    socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhi')
  }
  const socket = hijack('/containers/abc/attach')
  socket.on('error', () => undefined)
  await once(socket, 'data')
  const events = request({ socketPath: bed.socketPath, path: '/events' }).end()
  events.on('error', () => undefined)
  const [answer] = (await once(events, 'response')) as [IncomingMessage]
  answer.on('error', () => undefined)
  const ended = Promise.all(
    [socket, answer].map((stream) => new Promise((resolve) => stream.once('close', resolve))),
  )
  socket.resume()
  answer.resume()
  // Our end of a half-open socket closes once we end it too.
  socket.once('end', () => socket.end())
  await bed.server.close()
  await expect(ended).resolves.toHaveLength(2)
})
