/** Newest Engine API that this code was written against (docs: Engine API v1.50); a newer engine is spoken to in this one. */
export const newestApiVersion = '1.50'

/** Docker's API versions are `major.minor`: negative where `a` is older. */
export function compareVersions(a: string, b: string): number {
  const [aMajor = 0, aMinor = 0] = a.split('.').map(Number)
  const [bMajor = 0, bMinor = 0] = b.split('.').map(Number)
  return aMajor - bMajor || aMinor - bMinor
}
