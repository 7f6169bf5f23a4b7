/** Response codes (RFC 1035, RFC 6891 for the last, which needs an OPT record). */
export const codes = {
  ok: 0,
  malformed: 1,
  failed: 2,
  noSuchName: 3,
  notImplemented: 4,
  refused: 5,
  badVersion: 16,
} as const

export type Code = (typeof codes)[keyof typeof codes]
