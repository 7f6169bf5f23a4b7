import type { Asker, KnownNetwork, NameIndex } from './name-index.ts'
import type { Answer } from './name-table.ts'
import type { Address } from './plane.ts'

/** Behind every name of ours, for those who say it in full (RFC 9476 leaves `internal` to private use). */
export const nameDomain = 'moot.internal'

/** What is asked for. `other`: names of ours have nothing of that kind. */
export type AskedType = 'A' | 'PTR' | 'SOA' | 'ANY' | 'other'

/** `zone`: where the name would be, in an answer that says that there is nothing. */
export type NameAnswer =
  /** In the order in which they are to be tried. */
  | { readonly kind: 'addresses'; readonly addresses: readonly Address[] }
  /** In full. */
  | { readonly kind: 'pointer'; readonly name: string }
  /** Asked for the beginning of our own zone. */
  | { readonly kind: 'authority'; readonly zone: string }
  /** There is such a name, but nothing of that type. */
  | { readonly kind: 'empty'; readonly zone: string }
  | { readonly kind: 'unknown'; readonly zone: string }
  /** No name of ours: these are to be asked, or else the host's own. */
  | { readonly kind: 'forward'; readonly nameservers: readonly Address[] }
  | { readonly kind: 'refused' }

export interface Asked {
  /** As it was written, in dots; with or without one at the end. */
  readonly name: string
  readonly type: AskedType
}

/**
 * What a node's name server answers: Swarm's names, each known on its networks alone.
 * @param random in [0, 1), drawn anew at each call.
 */
export function answerName(
  index: NameIndex,
  asker: Asker,
  { name, type }: Asked,
  random: () => number,
): NameAnswer {
  const asked = name.toLowerCase().replace(/\.$/, '')
  const address = addressIn(asked)
  if (address !== undefined) return answerAddress(index, asker, address, asked, type)
  const own = withoutDomain(asked)
  const known = first(asker, ({ names }) => names.get(own ?? asked))
  const zone = own === undefined ? asked : nameDomain
  if (known !== undefined) {
    const addresses = type === 'A' || type === 'ANY' ? shuffled(known, random) : []
    return addresses.length > 0 ? { kind: 'addresses', addresses } : { kind: 'empty', zone }
  }
  if (own === undefined) return elsewhere(asker)
  if (own === '' && (type === 'SOA' || type === 'ANY')) return { kind: 'authority', zone }
  return own === '' || isAboveOthers(asker, own) ? { kind: 'empty', zone } : { kind: 'unknown', zone }
}

/** Addresses of the cluster are nobody's business but ours, whoever asks for them. */
function answerAddress(
  index: NameIndex,
  asker: Asker,
  address: Address,
  asked: string,
  type: AskedType,
): NameAnswer {
  const name = first(asker, ({ reverse }) => reverse.get(address))?.concat('.', nameDomain)
  const zone = asked.slice(asked.indexOf('.') + 1)
  if (name !== undefined && fitsIntoAnswer(name)) {
    if (type !== 'PTR' && type !== 'ANY') return { kind: 'empty', zone }
    return { kind: 'pointer', name }
  }
  return index.networkOf(address) === undefined ? elsewhere(asker) : { kind: 'unknown', zone }
}

function elsewhere({ mayLeave, nameservers }: Asker): NameAnswer {
  return mayLeave ? { kind: 'forward', nameservers } : { kind: 'refused' }
}

function first<T>(asker: Asker, found: (network: KnownNetwork) => T | undefined): T | undefined {
  for (const network of asker.networks) {
    const one = found(network)
    if (one !== undefined) return one
  }
  return undefined
}

/** An alias can be anything; a label has at most 63 bytes, a name 255 with its lengths (RFC 1035, 2.3.4). */
function fitsIntoAnswer(name: string): boolean {
  return /^[\x21-\x7e]{1,253}$/.test(name) && name.split('.').every(({ length }) => length > 0 && length < 64)
}

/** Empty: the domain itself. Undefined: not in it. */
function withoutDomain(name: string): string | undefined {
  if (name === nameDomain) return ''
  return name.endsWith(`.${nameDomain}`) ? name.slice(0, -nameDomain.length - 1) : undefined
}

/** `tasks` is no name, but there is `tasks.web`: whoever hears that there is none believes that there is nothing below it (RFC 8020). */
function isAboveOthers(asker: Asker, name: string): boolean {
  const below = `.${name}`
  return asker.networks.some(({ names }) => names.keys().some((other) => other.endsWith(below)))
}

/** `10.128.0.17` of `17.0.128.10.in-addr.arpa`. */
function addressIn(name: string): Address | undefined {
  if (!name.endsWith('.in-addr.arpa')) return undefined
  const parts = name.slice(0, -'.in-addr.arpa'.length).split('.')
  const isAddress =
    parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && +part < 256)
  return isAddress ? parts.toReversed().join('.') : undefined
}

function shuffled({ addresses, local }: Answer, random: () => number): readonly Address[] {
  const all = [...addresses]
  shuffle(all, 0, local, random)
  shuffle(all, local, all.length, random)
  return all
}

/** Fisher and Yates, of the part between. */
function shuffle(all: Address[], from: number, to: number, random: () => number): void {
  for (let index = Math.min(to, all.length) - 1; index > from; index--) {
    const other = from + Math.floor(random() * (index - from + 1))
    const [one, another] = [all[index], all[other]]
    if (one === undefined || another === undefined) return
    all[index] = another
    all[other] = one
  }
}
