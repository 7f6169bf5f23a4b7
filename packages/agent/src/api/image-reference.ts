/**
 * Is this an image reference that Docker accepts? (distribution/reference `regexp.go` and `normalize.go`.)
 *
 *   [domain[:port]/]path[/path…][:tag][@digest]
 *
 * `ubuntu`, `registry:5000/team/app:1.2`, `app@sha256:…`. A bare 64-digit hex string is an image id, not a reference.
 */
const domainComponent = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])'
const domainName = `${domainComponent}(?:\\.${domainComponent})*`
const ipv6 = '\\[(?:[a-fA-F0-9:]+)\\]'
const domain = `(?:${domainName}|${ipv6})(?::[0-9]+)?`
const separator = '(?:[._]|__|[-]+)'
const pathComponent = `[a-z0-9]+(?:${separator}[a-z0-9]+)*`
const remoteName = `${pathComponent}(?:/${pathComponent})*`
const tag = '[\\w][\\w.-]{0,127}'
const digest = '[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}'
const reference = new RegExp(`^((?:${domain}/)?${remoteName})(?::(${tag}))?(?:@(${digest}))?$`)

const maxNameLength = 255
const digestLengths: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 }

export function isImageReference(text: string): boolean {
  // Longer than any name, tag and digest together; keeps the pattern's work small.
  if (text.length > 600 || /^[a-f0-9]{64}$/.test(text)) return false
  const match = reference.exec(text)
  if (match === null) return false
  const [, name = '', , digestText] = match
  if (name.length > maxNameLength) return false
  if (digestText === undefined) return true
  const [algorithm = '', hex = ''] = digestText.split(':')
  return digestLengths[algorithm] === hex.length && hex === hex.toLowerCase()
}
