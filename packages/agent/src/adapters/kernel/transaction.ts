import { type Elements, type Ruleset, setNames } from './ruleset.ts'
import { setsText } from './table-text.ts'

/** What one message to the kernel may hold, with room to spare: a set's elements are handed over so many at a time. */
const elementsPerCommand = 500

/**
 * What the rules look up, and nothing that a packet meets. In one transaction with the rules it would come too late: the kernel
 * publishes a set of intervals (nft_set_pipapo; in newer kernels nft_set_rbtree too) after the rules, which find it empty until then.
 */
export function buildText(table: string, ruleset: Ruleset): string {
  const chains = [...ruleset.chains].map(
    ([name, rules]) => `  chain ${name} {\n${rules.map((rule) => `    ${rule}\n`).join('')}  }\n`,
  )
  return [
    deleteText(table),
    `table ip ${table} {${setsText}${chains.join('')}}\n`,
    ...setNames.map((name) => elementsText('add', table, name, ruleset.sets[name])),
  ].join('')
}

/**
 * Puts in force what was built. What is established goes on, since translation of a connection is remembered with the
 * connection.
 */
export function enforceText(table: string, rulesText: string): string {
  return `table ip ${table} {\n${rulesText}}\n`
}

export function deleteText(table: string): string {
  // Deleting what is not there is an error, so it is added first.
  return `add table ip ${table}\ndelete table ip ${table}\n`
}

/** Only what differs, in one transaction; empty where nothing does. */
export function changeText(table: string, from: Ruleset, to: Ruleset): string {
  const gone: string[] = []
  const come: string[] = []
  for (const name of setNames) {
    const [old, wanted] = [from.sets[name], to.sets[name]]
    gone.push(elementsText('delete', table, name, different(old, wanted)))
    come.push(elementsText('add', table, name, different(wanted, old)))
  }
  const chains: string[] = []
  for (const [name, rules] of to.chains) {
    const old = from.chains.get(name)
    if (old !== undefined && sameRules(old, rules)) continue
    chains.push(`${old === undefined ? 'add' : 'flush'} chain ip ${table} ${name}\n`)
    for (const rule of rules) chains.push(`add rule ip ${table} ${name} ${rule}\n`)
  }
  // A chain that something leads to cannot be deleted, nor may an element lead to a chain that is not there.
  const deleted = [...from.chains.keys()]
    .filter((name) => !to.chains.has(name))
    .map((name) => `flush chain ip ${table} ${name}\ndelete chain ip ${table} ${name}\n`)
  return [...gone, ...deleted, ...chains, ...come].join('')
}

/** Of `one` what `other` has not, or has otherwise. */
function different(one: Elements, other: Elements): Elements {
  return new Map([...one].filter(([key, value]) => !other.has(key) || other.get(key) !== value))
}

function sameRules(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((rule, index) => rule === other[index])
}

function elementsText(verb: 'add' | 'delete', table: string, name: string, elements: Elements): string {
  const written = [...elements].map(([key, value]) =>
    verb === 'add' && value !== undefined ? `${key} : ${value}` : key,
  )
  let text = ''
  for (let start = 0; start < written.length; start += elementsPerCommand) {
    const some = written.slice(start, start + elementsPerCommand)
    text += `${verb} element ip ${table} ${name} { ${some.join(', ')} }\n`
  }
  return text
}
