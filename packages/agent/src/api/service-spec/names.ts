import { randomInt } from 'node:crypto'

const adjectives =
  'able bold brave bright calm clever eager fair fast fine free glad good happy keen kind level lucid merry mild neat noble open plain proud quick quiet ready sharp sound steady swift true vivid warm wise'.split(
    ' ',
  )
const assemblies =
  'agora althing boule council diet ecclesia forum gemot hall jirga landsgemeinde loya mir moot panchayat parliament rad sejm senate skupstina synod thing town veche witan'.split(
    ' ',
  )

/** A name for a service that was created without one, as Docker gives one. Asks for another while it is taken. */
export function freeServiceName(taken: (name: string) => boolean): string {
  for (let tries = 0; tries < 50; tries++) {
    const name = `${pick(adjectives)}_${pick(assemblies)}`
    if (!taken(name)) return name
  }
  return `${pick(adjectives)}_${pick(assemblies)}${randomInt(1_000_000)}`
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)] ?? 'moot'
}
