import { type Table, wholeDatabase } from './storage.ts'

export interface Damage {
  readonly what: string
  readonly setAsideAs: string
  readonly healed: boolean
}

/** Damaged objects by table and key; marked healed when the object is written again. */
export class DamageList {
  #found = new Map<string, Damage>()

  add(table: Table, key: string, setAsideAs: string): void {
    const what = key === wholeDatabase ? 'database' : `${table} ${key}`
    this.#found.set(`${table} ${key}`, { what, setAsideAs, healed: false })
  }

  healed(table: Table, key: string): void {
    const found = this.#found.get(`${table} ${key}`)
    if (found !== undefined) this.#found.set(`${table} ${key}`, { ...found, healed: true })
  }

  healedAll(table: Table): void {
    for (const name of this.#found.keys()) {
      const space = name.indexOf(' ')
      if (name.slice(0, space) === table) this.healed(table, name.slice(space + 1))
    }
  }

  all(): readonly Damage[] {
    return [...this.#found.values()]
  }
}
