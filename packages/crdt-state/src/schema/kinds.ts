import type { SpecKind } from './resources.ts'

/** Each kind of document once; the compiler checks that none is missing. */
const kinds = {
  service: true,
  network: true,
  secret: true,
  config: true,
  node: true,
  cluster: true,
} as const satisfies Record<SpecKind, true>

export const specKinds = Object.keys(kinds) as [SpecKind, ...SpecKind[]]
