import { isNetworkFilesystem, isLocalDriver } from '../../core/placement/workload.ts'
import { defaults } from '../../defaults.ts'
import { label } from './labels.ts'

/** An item of `GET /volumes`. */
export interface ListedVolume {
  readonly Name: string
  readonly Driver: string
  readonly Labels: Readonly<Record<string, string>> | null
  readonly Options: Readonly<Record<string, string>> | null
}

/** Docker's own name of a volume that nobody gave one: it goes with its container. */
const anonymous = /^[0-9a-f]{64}$/

/**
 * Names, sorted, of the volumes whose data is here and nowhere else, whoever made them: `docker volume create`, Compose
 * and Swarm did before Moot came, and labels of a volume are never added later. Those that Moot made come first where
 * there are more than are told.
 */
export function dataHere(volumes: readonly ListedVolume[]): readonly string[] {
  const named = volumes.filter(
    ({ Name, Driver, Options }) =>
      !anonymous.test(Name) &&
      isLocalDriver(Driver) &&
      !isNetworkFilesystem(Options?.['type']) &&
      Options?.['type'] !== 'tmpfs',
  )
  const [ours, others] = [true, false].map((isOurs) =>
    named
      .filter(({ Labels }) => (Labels?.[label.cluster] !== undefined) === isOurs)
      .map(({ Name }) => Name)
      .toSorted(),
  )
  return [...(ours ?? []), ...(others ?? [])].slice(0, defaults.volumesToldLimit).toSorted()
}
