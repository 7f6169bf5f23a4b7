import { createReadStream } from 'node:fs'
import { request } from 'node:http'

export class UnexpectedStatus extends Error {
  readonly code = 'UNEXPECTED_STATUS'
  readonly status: number
  constructor(what: string, status: number, body: string) {
    super(`${what} was answered with ${status}: ${body.slice(0, 2_000)}`)
    this.status = status
  }
}

export interface Answer {
  readonly status: number
  readonly text: string
}

/** One HTTP request over a unix socket, whatever the status. `body` is sent as JSON, `file` as it is. */
export function ask(
  socketPath: string,
  method: string,
  path: string,
  options: {
    readonly body?: unknown
    readonly file?: string
    readonly timeoutMs?: number
    readonly headers?: Readonly<Record<string, string>>
  } = {},
): Promise<Answer> {
  const timeoutMs = options.timeoutMs ?? 30_000
  const signal = AbortSignal.timeout(timeoutMs)
  return new Promise((resolve, reject) => {
    const type = options.file === undefined ? 'application/json' : 'application/x-tar'
    const message = request(
      {
        socketPath,
        method,
        path,
        headers: { host: 'docker', 'content-type': type, ...options.headers },
        signal,
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') })
        })
      },
    )
    message.on('error', (error) => {
      reject(
        signal.aborted
          ? new Error(`${method} ${path} on ${socketPath}: no answer in ${timeoutMs} ms`)
          : new Error(`${method} ${path} on ${socketPath}: ${error.message}`),
      )
    })
    if (options.file !== undefined) {
      const file = createReadStream(options.file)
      file.on('error', (error) => message.destroy(error))
      file.pipe(message)
    } else {
      message.end(options.body === undefined ? undefined : JSON.stringify(options.body))
    }
  })
}

/** The same, for who wants a success: its JSON (undefined where the body is empty), or `UnexpectedStatus`. */
export async function askJson<T = unknown>(
  socketPath: string,
  method: string,
  path: string,
  options: Parameters<typeof ask>[3] = {},
): Promise<T> {
  const { status, text } = await ask(socketPath, method, path, options)
  if (status < 200 || status > 299)
    throw new UnexpectedStatus(`${method} ${path} on ${socketPath}`, status, text)
  return (text.trim() === '' ? undefined : JSON.parse(text)) as T
}
