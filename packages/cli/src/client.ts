import type { IncomingMessage } from 'node:http'

// An `import` would read every export, and with them load fetch and WebSocket: 45 ms of the 100 that a command may take.
const { request: httpRequest } = process.getBuiltinModule('node:http')

/** Where the agent listens: `unix:///run/moot/moot.sock` or `http://host:port`. */
export const defaultHost = 'unix:///run/moot/moot.sock'

/** The agent cannot be reached. Exit code 69 (sysexits EX_UNAVAILABLE). */
export class AgentUnreachableError extends Error {
  readonly code = 'ERR_AGENT_UNREACHABLE'
  readonly exitCode = 69
  override name = 'AgentUnreachableError'
  constructor(host: string, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause)
    super(
      `cannot reach the agent at ${host}: ${why}\nIs it running here ("moot agent")? Another node's is chosen with -H or MOOT_HOST.`,
      { cause },
    )
  }
}

/** The agent said no. Exit code 1. */
export class AgentRefusedError extends Error {
  readonly code = 'ERR_AGENT_REFUSED'
  readonly exitCode = 1
  override name = 'AgentRefusedError'
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export interface RequestOptions {
  readonly body?: unknown
  readonly query?: Readonly<Record<string, string | undefined>>
  readonly signal?: AbortSignal
}

/** Speaks HTTP to one agent, and to nothing else. */
export interface Client {
  readonly host: string
  json<T>(method: string, path: string, options?: RequestOptions): Promise<T>
  stream(path: string, options?: RequestOptions): Promise<AsyncIterable<Uint8Array>>
}

export function createClient(host: string, warn: (text: string) => void = () => undefined): Client {
  const target = parseHost(host)

  async function send(method: string, path: string, options: RequestOptions): Promise<IncomingMessage> {
    const query = new URLSearchParams()
    for (const [key, value] of Object.entries(options.query ?? {}))
      if (value !== undefined) query.set(key, value)
    const text = query.size > 0 ? `${path}?${query.toString()}` : path
    const body = options.body === undefined ? undefined : JSON.stringify(options.body)
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = httpRequest(
        {
          ...target,
          method,
          path: text,
          headers: {
            'User-Agent': userAgent(process.env),
            ...(body === undefined
              ? {}
              : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }),
          },
          ...(options.signal === undefined ? {} : { signal: options.signal }),
        },
        resolve,
      )
      sent.on('error', (error) => reject(new AgentUnreachableError(host, error)))
      sent.end(body)
    })
    const status = response.statusCode ?? 500
    if (status >= 400) throw new AgentRefusedError(status, messageOf(await text8(response)))
    for (const text of warningsIn(response)) warn(text)
    return response
  }

  return {
    host,
    async json<T>(method: string, path: string, options: RequestOptions = {}) {
      const text = await text8(await send(method, path, options))
      return (text === '' ? undefined : JSON.parse(text)) as T
    },
    stream: (path, options = {}) => send('GET', path, options),
  }
}

/** Says who asks, for the history: nobody checks it. Behind `sudo` it is the person, not root. */
export function userAgent(environment: Readonly<Record<string, string | undefined>>): string {
  const user = environment['SUDO_USER'] ?? environment['USER'] ?? ''
  const plain = user.replaceAll(/[^\w.@-]/g, '').slice(0, 64)
  return plain === '' ? 'moot-cli' : `moot-cli (${plain})`
}

/** Throws an `Error` naming the forms that are understood. */
export function parseHost(host: string): { socketPath: string } | { host: string; port: number } {
  if (host.startsWith('unix://')) return { socketPath: host.slice('unix://'.length) }
  if (host.startsWith('/')) return { socketPath: host }
  const url = URL.parse(host.replace(/^tcp:/, 'http:'))
  if (url === null || url.protocol !== 'http:' || url.hostname === '') {
    throw new Error(`"${host}" is no address of an agent: use unix:///path/to/moot.sock or tcp://host:port`)
  }
  return { host: url.hostname, port: Number(url.port || 80) }
}

async function text8(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8')
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return text
}

/** What an answer whose body has no room for it warns of: `Warning: 299 moot "…"`, once for each. */
function warningsIn({ headersDistinct }: IncomingMessage): readonly string[] {
  return (headersDistinct['warning'] ?? []).flatMap((line) => {
    const [, quoted] = /^299 moot (".*")$/.exec(line) ?? []
    return quoted === undefined ? [] : [JSON.parse(quoted) as string]
  })
}

function messageOf(text: string): string {
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && 'message' in parsed) return String(parsed.message)
  } catch {
    // Not JSON: the text itself is the message.
  }
  return text.trim() || 'the agent answered with an error and no message'
}
