/** Names that `uname` and Go give the same processor (swarmkit manager/scheduler/filter.go normalizeArch). */
const architectures: ReadonlyMap<string, string> = new Map([
  ['x86_64', 'amd64'],
  ['x86-64', 'amd64'],
  ['aarch64', 'arm64'],
  ['armv7l', 'arm'],
  ['armv6l', 'arm'],
  ['i386', '386'],
  ['i686', '386'],
])

export function normalArchitecture(name: string): string {
  const lower = name.toLowerCase()
  return architectures.get(lower) ?? lower
}

/** Empty means any, on either side of the slash. */
export function platformMatches(
  node: { readonly os: string; readonly architecture: string },
  wanted: { readonly OS?: string | undefined; readonly Architecture?: string | undefined },
): boolean {
  const { OS = '', Architecture = '' } = wanted
  return (
    (OS === '' || OS.toLowerCase() === node.os.toLowerCase()) &&
    (Architecture === '' || normalArchitecture(Architecture) === normalArchitecture(node.architecture))
  )
}
