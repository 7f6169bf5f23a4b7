import type { ServerResponse } from 'node:http'

export function sendJson(
  res: ServerResponse,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`)
  res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': body.length, ...headers })
  res.end(body)
}

export function sendError(res: ServerResponse, status: number, message: string): void {
  if (res.headersSent) {
    // Half an answer is out: only cutting the connection tells the client that it is not whole.
    res.destroy()
    return
  }
  sendJson(res, status, { message })
}

/** @param warnings go into the header, as the engine itself warns where its answer has no room (`Warning: 299`). */
export function sendEmpty(res: ServerResponse, status: number, warnings: readonly string[] = []): void {
  res.writeHead(status, {
    // Docker's clients expect a length on an empty 200.
    ...(status !== 204 && { 'Content-Length': 0 }),
    ...(warnings.length > 0 && { Warning: warnings.map((text) => `299 moot ${JSON.stringify(text)}`) }),
  })
  res.end()
}

/** Go's RFC 3339 with nanoseconds; a record knows milliseconds. */
export function timestamp(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000000Z')
}

/** Go's zero time, which clients take for "never". */
export const zeroTime = '0001-01-01T00:00:00Z'
