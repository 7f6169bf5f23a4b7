import type { Author, HistoryEntry } from '../spec-store.ts'

export type ChangeAction = HistoryEntry<unknown>['action']

/** What stands in the message of an Automerge change. */
export interface ChangeNote {
  readonly action: ChangeAction
  readonly author: Author | undefined
}

const actions: readonly string[] = ['create', 'update', 'rollback', 'fact'] satisfies readonly ChangeAction[]

export function writeNote(action: ChangeAction, { node, client, atMs }: Author): string {
  return JSON.stringify({ node, client, atMs, action })
}

/** A message that we cannot read is an update by somebody: the change itself counts all the same. */
export function readNote(message: string | null): ChangeNote {
  const note = parsed(message)
  const { node, client, atMs, action } = note
  const author =
    typeof node === 'string' && typeof client === 'string' && typeof atMs === 'number'
      ? { node, client, atMs }
      : undefined
  return {
    action: typeof action === 'string' && actions.includes(action) ? (action as ChangeAction) : 'update',
    author,
  }
}

function parsed(message: string | null): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(message ?? '')
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
