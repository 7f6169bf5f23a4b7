import type { IncomingMessage } from 'node:http'
import type { Call, Api } from './call.ts'
import { ApiError, badRequest } from './errors.ts'

/** The whole body, at most `maxBodyBytes` of it (413), within `apiBodyTimeoutMs` (408). */
export async function readBody(api: Api, call: Call): Promise<Buffer> {
  const limit = api.settings.maxBodyBytes
  const tooLarge = (): ApiError =>
    new ApiError(413, `the request body is larger than ${limit} bytes, the most that is accepted here`)
  if (Number(call.req.headers['content-length'] ?? 0) > limit) throw tooLarge()
  const late = new AbortController()
  const cancel = api.clock.after(api.settings.apiBodyTimeoutMs, () => late.abort())
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of chunksOf(call.req, late.signal)) {
      size += chunk.length
      if (size > limit) throw tooLarge()
      chunks.push(chunk)
    }
  } finally {
    cancel()
  }
  if (late.signal.aborted) throw new ApiError(408, 'the request body did not arrive in time: send it again')
  return Buffer.concat(chunks)
}

async function* chunksOf(req: IncomingMessage, late: AbortSignal): AsyncGenerator<Buffer> {
  // `destroyOnReturn: false`: the answer (413) still has to go out on this connection.
  const iterator = req.iterator({ destroyOnReturn: false })
  const expired = new Promise<IteratorResult<Buffer>>((resolve) => {
    late.addEventListener('abort', () => resolve({ value: undefined, done: true }), { once: true })
  })
  for (;;) {
    const next = await Promise.race([iterator.next() as Promise<IteratorResult<Buffer>>, expired])
    if (next.done === true) return
    yield next.value
  }
}

/** Docker refuses another Content-Type where a body is expected (moby `httputils.CheckForJSON`). */
export async function readJson(api: Api, call: Call): Promise<unknown> {
  const type = call.req.headers['content-type']
  if (type !== undefined && !/^application\/json\s*(;|$)/i.test(type)) {
    throw badRequest(`unsupported Content-Type header (${type}): must be 'application/json'`)
  }
  const body = await readBody(api, call)
  if (body.length === 0) throw badRequest('invalid JSON: got EOF while reading request body')
  return parseJson(body)
}

export function parseJson(body: Buffer): unknown {
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw badRequest(`invalid JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badRequest('invalid JSON: the request body must be an object')
  }
  return withoutNulls(value, 0)
}

/** Deeper nesting than any of Docker's objects has; it keeps a hostile body from exhausting the stack. */
const maxDepth = 64

/** Go encodes an absent slice, map or pointer as null: to a schema it is absent. */
function withoutNulls(value: unknown, depth: number): unknown {
  if (depth > maxDepth) throw badRequest(`invalid JSON: nested deeper than ${maxDepth} levels`)
  if (Array.isArray(value)) {
    return value.filter((item) => item !== null).map((item) => withoutNulls(item, depth + 1))
  }
  if (typeof value !== 'object' || value === null) return value
  const result: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value)) {
    // `__proto__` as a key would be lost or worse; no object of Docker's has it.
    if (item !== null && key !== '__proto__') result[key] = withoutNulls(item, depth + 1)
  }
  return result
}
