import type { Identity, NodeId, NodeSpec, SpecMessage, SpecStore } from '@moot/crdt-state'
import * as z from 'zod'
import type { JoinToken } from '../cluster.ts'
import { JoinFailedError, LeavingError } from '../errors.ts'
import type { Clock } from '../ports/clock.ts'
import type { Mesh } from '../ports/mesh.ts'
import { TokenRefusedError } from './errors.ts'
import { extended, type Introduction, introductionSchema, signAdmission } from './introduction.ts'
import type { IssuedToken, TokenIssuer } from './issuer.ts'
import type { JoinTokenContent } from './token.ts'

const joinRequestSchema = z.object({
  token: z.string().max(128),
  secret: z.string().max(256),
  addresses: z.array(z.string().max(256)).max(16),
})
const joinAnswerSchema = z.object({
  clusterId: z.string(),
  messages: z.array(z.unknown()),
  /** An older issuer gives none; without one that can be read the joiner is a member all the same. */
  introduction: introductionSchema.optional().catch(undefined),
})

const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))
const decode = (bytes: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(bytes))

/** The issuer's side of joining. */
export interface Admission {
  createToken(ttlMs: number): Promise<JoinToken>
  tokens(): readonly IssuedToken[]
  stop(): void
}

export function admitJoiners(options: {
  readonly self: NodeId
  readonly clusterId: string
  readonly identity: Identity
  /** The issuer's own: it goes on in those of its joiners. */
  readonly introduction: () => Introduction
  readonly specs: SpecStore
  readonly mesh: Mesh
  /** Rejects where nobody else has it and this node is leaving. */
  readonly commit: (messages: readonly SpecMessage[]) => Promise<unknown>
  readonly issuer: TokenIssuer
  readonly clock: Clock
}): Admission {
  const { self, clusterId, identity, specs, mesh, issuer, clock } = options
  /** One at a time: a joiner that asks again while its first request is under way must not be admitted twice. */
  let last: Promise<unknown> = Promise.resolve()
  let cancelExpiry: () => void = () => undefined

  /** Strangers may knock only while a token can still be used. */
  function updateHandler(): void {
    cancelExpiry()
    const open = issuer.outstanding()
    mesh.onJoin(open.length === 0 ? undefined : heard)
    if (open.length === 0) return
    const first = Math.min(...open.map(({ expiresAtMs }) => expiresAtMs))
    cancelExpiry = clock.after(Math.max(1, first - clock.wallMs()), updateHandler)
  }

  function heard(joiner: Joiner, request: Uint8Array): Promise<Uint8Array> {
    const mine = last.then(() => admit(joiner, request))
    last = mine.catch(() => undefined)
    return mine
  }

  async function admit(joiner: Joiner, request: Uint8Array): Promise<Uint8Array> {
    const { token, secret, addresses } = joinRequestOf(request)
    const use = await issuer.redeem(token, secret, joiner.node)
    if (specs.byName('node', joiner.node) === undefined) {
      // Who joined with this token and was removed since needs a new one.
      if (use === 'again' && specs.tombstone('node', joiner.node) !== undefined) {
        throw new TokenRefusedError('used')
      }
      const author = { node: self, client: 'moot join', atMs: clock.wallMs() }
      const spec = nodeSpec(joiner.publicKey, addresses)
      await options.commit((await specs.create('node', joiner.node, spec, author)).messages)
    } else if (specs.byName('node', self) === undefined) {
      // Nobody else may have heard of the joiner, and nobody would believe this node any more.
      throw new LeavingError()
    }
    updateHandler()
    const introduction = extended(
      signAdmission(identity, clusterId, joiner.publicKey),
      options.introduction(),
    )
    return encode({ clusterId, messages: membershipOf(specs), introduction })
  }

  updateHandler()
  return {
    async createToken(ttlMs) {
      const { publicKey } = identity
      const addresses = mesh.addresses()
      const token = await issuer.create({ ttlMs, clusterId, issuer: self, publicKey, addresses })
      updateHandler()
      return token
    },
    tokens: () => issuer.list(),
    stop: () => cancelExpiry(),
  }
}

interface Joiner {
  readonly node: NodeId
  readonly publicKey: Uint8Array
}

/** The joiner's side: resolves, with what to show to members that do not know it, once this node's store says that it is one. */
export async function joinThrough(
  { mesh, specs }: { readonly mesh: Mesh; readonly specs: SpecStore },
  self: NodeId,
  token: JoinTokenContent,
  signal: AbortSignal,
): Promise<Introduction> {
  const request = encode({ token: token.id, secret: token.secret, addresses: mesh.addresses() })
  const answer = joinAnswerOf(
    await asked(mesh.join(token.issuer, token.addresses, request, signal), token, signal),
  )
  if (answer.clusterId !== token.clusterId) {
    throw new JoinFailedError(
      `the issuer is in cluster ${answer.clusterId}, the token in ${token.clusterId}: ask for a new token`,
    )
  }
  await specs.receive(answer.messages as SpecMessage[])
  if (specs.byName('node', self) === undefined) {
    throw new JoinFailedError(
      "the issuer accepted the token and did not send this node's membership: try the same token again",
    )
  }
  return answer.introduction ?? []
}

async function asked(
  answer: Promise<Uint8Array>,
  token: JoinTokenContent,
  signal: AbortSignal,
): Promise<Uint8Array> {
  try {
    return await answer
  } catch (error) {
    if (!(signal.aborted && signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError'))
      throw error
    throw new JoinFailedError(
      `node ${token.issuer} (${token.addresses.join(', ')}) did not answer in time: check that its agent runs and is not overloaded, then try the same token again`,
    )
  }
}

/** What a joiner needs before it can be a member: the cluster's settings and the allow-list. The rest comes by sync. */
function membershipOf(specs: SpecStore): readonly SpecMessage[] {
  const everyBucket = Array.from({ length: 256 }, (_, index) => index)
  return specs.diff(everyBucket, new Map()).send.filter((message) => {
    const { kind } = message.type === 'tombstone' ? message.tombstone : message
    return kind === 'cluster' || kind === 'node'
  })
}

function joinRequestOf(bytes: Uint8Array): z.infer<typeof joinRequestSchema> {
  try {
    return joinRequestSchema.parse(decode(bytes))
  } catch {
    throw new JoinFailedError('the join request cannot be read: the joiner may run another version of Moot')
  }
}

function joinAnswerOf(bytes: Uint8Array): z.infer<typeof joinAnswerSchema> {
  try {
    return joinAnswerSchema.parse(decode(bytes))
  } catch {
    throw new JoinFailedError(
      "the issuer's answer cannot be read: it may run another version of Moot; bring both to the same release and try the same token again",
    )
  }
}

export function nodeSpec(publicKey: Uint8Array, addresses: readonly string[]): NodeSpec {
  return {
    Labels: {},
    Role: 'manager',
    Availability: 'active',
    PublicKey: Buffer.from(publicKey).toString('base64'),
    Addresses: [...addresses],
  }
}
