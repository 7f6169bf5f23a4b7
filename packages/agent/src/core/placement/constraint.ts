import { holds, parseAddress, parseRange } from '../network/ipv4.ts'
import { normalArchitecture } from './platform.ts'
import type { PlacementNode } from './placement.ts'

/** A placement constraint as Swarm writes it: `node.labels.zone == eu`. */
export interface Constraint {
  /** As the person wrote it, without spaces around. */
  readonly key: string
  readonly operator: '==' | '!='
  readonly value: string
}

export class ConstraintSyntaxError extends Error {
  readonly code = 'ERR_CONSTRAINT_SYNTAX'
  override name = 'ConstraintSyntaxError'
  constructor(text: string, problem: string) {
    super(
      `invalid placement constraint "${text}": ${problem}. Write KEY==VALUE or KEY!=VALUE, where KEY is one of ${knownKeys}`,
    )
  }
}

const knownKeys =
  'node.id, node.hostname, node.ip, node.role, node.platform.os, node.platform.arch, node.labels.NAME, engine.labels.NAME'
const plainKeys = new Set([
  'node.id',
  'node.hostname',
  'node.ip',
  'node.role',
  'node.platform.os',
  'node.platform.arch',
])
// The two patterns are swarmkit's (manager/constraint/constraint.go), so that what Swarm takes is taken here.
const keyPattern = /^[a-z_][a-z0-9\-_.]+$/i
const valuePattern = /^[a-z0-9:\-_\s.*()?+[\]\\^$|/]+$/i

/** Throws `ConstraintSyntaxError`. Called at the API's edge, so that a typing mistake is told at once. */
export function parseConstraint(text: string): Constraint {
  const operator = firstOperator(text)
  if (operator === undefined) throw new ConstraintSyntaxError(text, 'it has neither == nor !=')
  const at = text.indexOf(operator)
  const key = text.slice(0, at).trim()
  const value = text.slice(at + operator.length).trim()
  if (!keyPattern.test(key)) throw new ConstraintSyntaxError(text, `"${key}" is no key`)
  if (value === '') throw new ConstraintSyntaxError(text, 'the value is missing')
  if (!valuePattern.test(value)) {
    throw new ConstraintSyntaxError(text, `the value "${value}" has characters that are not allowed`)
  }
  if (!isNodeKey(key)) {
    throw new ConstraintSyntaxError(text, `nodes have no "${key}"`)
  }
  return { key, operator, value }
}

/** Is there something that nodes say for this key? */
export function isNodeKey(key: string): boolean {
  return plainKeys.has(key.toLowerCase()) || labelName(key) !== undefined
}

/** Whichever comes first: a label's value may hold the other one's characters only after it. */
function firstOperator(text: string): '==' | '!=' | undefined {
  const equal = text.indexOf('==')
  const unequal = text.indexOf('!=')
  if (equal < 0 && unequal < 0) return undefined
  if (equal < 0) return '!='
  return unequal < 0 || equal < unequal ? '==' : '!='
}

/** The label of `node.labels.X` or `engine.labels.X`: the prefix in any case, the label as it is. */
function labelName(key: string): { readonly of: 'node' | 'engine'; readonly label: string } | undefined {
  const match = /^(node|engine)\.labels\.(.+)$/i.exec(key)
  if (match === null) return undefined
  return { of: match[1]?.toLowerCase() === 'engine' ? 'engine' : 'node', label: match[2] ?? '' }
}

/**
 * What a node says for a key; '' where it has no such label. `undefined`: not known, because the node has not
 * described itself yet, or there is no such key.
 */
export type AttributeReader = (node: DescribedNode) => string | undefined
/** What a node says of itself, and what people say of it. */
export type DescribedNode = Pick<PlacementNode, 'id' | 'settings' | 'record'>

/** Reads the key once, for many nodes. */
export function attributeReader(key: string): AttributeReader {
  switch (key.toLowerCase()) {
    case 'node.id':
      return ({ id }) => id
    case 'node.hostname':
      return ({ record }) => record?.status?.hostname
    case 'node.ip':
      return ({ record }) => record?.status?.addresses.join(' ')
    case 'node.role':
      return ({ settings }) => settings.spec.Role
    case 'node.platform.os':
      return ({ record }) => record?.status?.platform.os
    case 'node.platform.arch':
      return ({ record }) => record?.status?.platform.architecture
    default:
      return labelReader(key)
  }
}

function labelReader(key: string): AttributeReader {
  const found = labelName(key)
  if (found === undefined) return () => undefined
  const { of, label } = found
  if (of === 'node') return ({ settings }) => labelValue(settings.spec.Labels, label)
  return ({ record }) => record?.status && labelValue(record.status.engineLabels, label)
}

/** Only the map's own: a label may be named `constructor`. */
function labelValue(labels: Readonly<Record<string, string>>, name: string): string {
  return Object.hasOwn(labels, name) ? (labels[name] ?? '') : ''
}

/** A constraint that is ready to be asked of many nodes. */
export interface Requirement {
  readonly constraint: Constraint | ConstraintSyntaxError
  readonly attribute: AttributeReader
  /** An attribute that is not known matches nothing, neither == nor != (the engine filter says why). */
  readonly isMet: (node: DescribedNode) => boolean
}

/** The API refuses a constraint that cannot be read; one that came another way (an older agent's) fits no node. */
export function requirementOf(text: string): Requirement {
  const constraint = readConstraint(text)
  if (constraint instanceof ConstraintSyntaxError) {
    return { constraint, attribute: () => undefined, isMet: () => false }
  }
  const attribute = attributeReader(constraint.key)
  const matches = valueMatcher(constraint)
  const isWanted = constraint.operator === '=='
  const isMet = (node: DescribedNode): boolean => {
    const actual = attribute(node)
    return actual !== undefined && matches(actual) === isWanted
  }
  return { constraint, attribute, isMet }
}

function readConstraint(text: string): Constraint | ConstraintSyntaxError {
  try {
    return parseConstraint(text)
  } catch (error) {
    if (error instanceof ConstraintSyntaxError) return error
    throw error
  }
}

function valueMatcher({ key, value }: Constraint): (actual: string) => boolean {
  switch (key.toLowerCase()) {
    case 'node.ip':
      return (actual) => actual.split(' ').some((address) => addressMatches(value, address))
    case 'node.platform.arch':
      return (actual) => normalArchitecture(value) === normalArchitecture(actual)
    default: {
      const wanted = value.toLowerCase()
      return (actual) => wanted === actual.toLowerCase()
    }
  }
}

/** An address, or an IPv4 network in CIDR form. IPv6 is compared as text. */
function addressMatches(wanted: string, address: string): boolean {
  if (!wanted.includes('/')) return wanted.toLowerCase() === address.toLowerCase()
  const range = parseRange(wanted)
  const actual = parseAddress(address)
  return range !== undefined && actual !== undefined && holds(range, actual)
}
