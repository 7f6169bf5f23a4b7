import * as z from 'zod'
import { readJson } from '../body.ts'
import type { Api, Call, Route } from '../call.ts'
import { parseWith } from '../schema-errors.ts'
import { sendJson } from '../reply.ts'

/**
 * One operation of `/moot/v1`: its schemas check the request and the answer, and are the OpenAPI document. An answer
 * that does not fit its schema is a mistake of ours and a 500.
 */
export interface Operation {
  readonly method: 'GET' | 'POST'
  /** find-my-way's form: `/explain/:ref`. */
  readonly path: string
  readonly summary: string
  readonly query: Readonly<Record<string, string>>
  readonly body: z.ZodType | undefined
  readonly answer: z.ZodType
  readonly anywhere: boolean
  readonly run: (api: Api, call: Call, body: unknown) => unknown
}

export function operation<B extends z.ZodType, A extends z.ZodType>(options: {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly summary: string
  readonly query?: Readonly<Record<string, string>>
  readonly body?: B
  readonly answer: A
  /** Also on a node that is in no cluster. */
  readonly anywhere?: true
  readonly run: (api: Api, call: Call, body: z.output<B>) => Promise<z.input<A>> | z.input<A>
}): Operation {
  return {
    ...options,
    query: options.query ?? {},
    body: options.body,
    anywhere: options.anywhere ?? false,
    run: (api, call, body) => options.run(api, call, body as z.output<B>),
  }
}

export function routeOf(op: Operation): Route {
  return {
    method: op.method,
    path: `/moot/v1${op.path}`,
    ...(op.anywhere ? { anywhere: true as const } : {}),
    handler: async (api, call) => {
      const body = op.body === undefined ? undefined : parseWith(op.body, await bodyOf(api, call), 'request')
      sendJson(call.res, 200, op.answer.parse(await op.run(api, call, body)))
    },
  }
}

/** A request without a body is one with an empty object: every field of ours that can be left out may be. */
async function bodyOf(api: Api, call: Call): Promise<unknown> {
  const { headers } = call.req
  const empty = headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0
  return empty ? {} : readJson(api, call)
}

export function openApiDocument(operations: readonly Operation[], version: string): unknown {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const op of operations) {
    const path = `/moot/v1${op.path}`.replaceAll(/:(\w+)/g, '{$1}')
    const item = (paths[path] ??= {})
    item[op.method.toLowerCase()] = {
      summary: op.summary,
      operationId: `${op.method.toLowerCase()}${op.path.replaceAll(/[/:]+(\w)/g, (_all, letter: string) => letter.toUpperCase())}`,
      parameters: [...path.matchAll(/\{(\w+)\}/g)]
        .map(([, name]): unknown => ({ name, in: 'path', required: true, schema: { type: 'string' } }))
        .concat(
          Object.entries(op.query).map(([name, description]) => ({
            name,
            in: 'query',
            description,
            schema: { type: 'string' },
          })),
        ),
      ...(op.body === undefined
        ? {}
        : { requestBody: { content: { 'application/json': { schema: schemaOf(op.body, 'input') } } } }),
      responses: {
        200: {
          description: 'done',
          content: { 'application/json': { schema: schemaOf(op.answer, 'output') } },
        },
        default: {
          description: 'an error',
          content: {
            'application/json': { schema: schemaOf(z.object({ message: z.string() }), 'output') },
          },
        },
      },
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Moot',
      version,
      description: 'What Docker’s API has no word for. The rest of the socket speaks the Docker Engine API.',
    },
    paths,
  }
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): unknown {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return rest
}
