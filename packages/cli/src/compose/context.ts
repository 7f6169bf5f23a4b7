import type { StackFile } from './schema.ts'
import { ComposeError } from './values.ts'

/** What the parts of one conversion share. */
export interface ConvertContext {
  readonly namespace: string
  readonly stack: StackFile
  readonly directory: string
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** Drops what was not given, so that the spec is the same as the one that `docker stack deploy` sends. */
export function given<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}

export const nonEmpty = <T extends readonly unknown[]>(list: T | undefined): T | undefined =>
  list === undefined || list.length === 0 ? undefined : list

export function stringOptions(
  options: Readonly<Record<string, string | number | boolean | null>> | undefined,
): Record<string, string> | undefined {
  if (options === undefined) return undefined
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => [key, value === null ? '' : String(value)]),
  )
}

/** The name that a network of the file has in the cluster. */
export function networkName(context: ConvertContext, key: string, field: string): string {
  const network = context.stack.networks[key]
  if (network === undefined && key !== 'default') {
    throw new ComposeError(`${field}: the network "${key}" is not among the file's networks`)
  }
  const outside = network?.external
  if (typeof outside === 'object' && outside.name !== undefined) return outside.name
  if (network?.name !== undefined) return network.name
  return outside === undefined || outside === false ? `${context.namespace}_${key}` : key
}
