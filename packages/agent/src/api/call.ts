import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Author } from '@moot/crdt-state'
import type { Logger } from 'pino'
import type { Cluster } from '../cluster.ts'
import type { Defaults } from '../defaults.ts'
import type { Clock } from '../ports/clock.ts'
import { badRequest } from './errors.ts'
import type { EngineClient } from './engine/engine-client.ts'
import type { EventLog } from './event-log.ts'
import type { TokenKeeper } from './token-keeper.ts'

/** What every handler may use. One for the server's life. */
export interface Api {
  readonly cluster: Cluster
  readonly engine: EngineClient
  readonly events: EventLog
  readonly joinTokens: TokenKeeper
  readonly logger: Logger
  readonly settings: Defaults
  readonly agentVersion: string
  readonly clock: Pick<Clock, 'wallMs' | 'after'>
}

/** One request. */
export interface Call {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly id: string
  readonly log: Logger
  /** Without the version prefix and the query. */
  readonly path: string
  /** The prefix's version, if there was one: `1.41`. */
  readonly version: string | undefined
  readonly query: URLSearchParams
  readonly params: Readonly<Record<string, string | undefined>>
  /** Aborted when the client goes away or the server closes. */
  readonly signal: AbortSignal
}

export type Handler = (api: Api, call: Call) => Promise<void> | void

export interface Route {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'DELETE'
  readonly path: string
  readonly handler: Handler
  /** Answers as long as the client listens: no time limit. */
  readonly streams?: true
  /** Works on a node that is in no cluster too. */
  readonly anywhere?: true
}

export function authorOf(api: Api, call: Call): Author {
  const client = call.req.headers['user-agent'] ?? 'unknown client'
  return { node: api.cluster.self, client: client.slice(0, 200), atMs: api.clock.wallMs() }
}

/** A path parameter that the route pattern guarantees. */
export function param(call: Call, name: string): string {
  const value = call.params[name]
  if (value === undefined || value === '') throw badRequest(`the path lacks a ${name}`)
  return value
}

/** Docker's reading of a boolean (moby `httputils.BoolValue`): empty, 0, no, false and none are false. */
export function flag(query: URLSearchParams, name: string): boolean {
  return !['', '0', 'no', 'false', 'none'].includes((query.get(name) ?? '').trim().toLowerCase())
}

/** `?version=`: required where a whole object is written back. */
export function versionIndex(call: Call, kind: string): number {
  const text = call.query.get('version') ?? ''
  const index = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(index)) {
    throw badRequest(`invalid ${kind} version '${text}': give the Version.Index that you read in ?version=`)
  }
  return index
}
