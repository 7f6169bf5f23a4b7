/** What was given as a token is none. */
export class BadTokenError extends Error {
  readonly code = 'ERR_BAD_TOKEN'
  override name = 'BadTokenError'
  constructor(why: string) {
    super(`this is no join token: ${why}. Copy the whole line that "moot token" printed.`)
  }
}

export class TooManyTokensError extends Error {
  readonly code = 'ERR_TOO_MANY_TOKENS'
  override name = 'TooManyTokensError'
  constructor(count: number) {
    super(
      `${count} join tokens of this node wait to be used: use them, or make the next one when the first have expired`,
    )
  }
}

/** The issuer does not take this token. An unknown token and a wrong secret are told alike: a guesser learns nothing. */
export class TokenRefusedError extends Error {
  readonly code = 'ERR_TOKEN_REFUSED'
  override name = 'TokenRefusedError'
  readonly why: 'unknown' | 'used' | 'expired' | 'too-many-tries'
  constructor(why: TokenRefusedError['why']) {
    super(texts[why])
    this.why = why
  }
}

const again = 'Make a new one with "moot token" on any member.'
const texts = {
  unknown: `the join token is not valid here. ${again}`,
  used: `the join token was used already: each works once. ${again}`,
  expired: `the join token has expired. ${again}`,
  'too-many-tries': 'too many wrong join tokens were tried here: wait a minute and try again.',
} as const
