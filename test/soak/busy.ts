import type { Hosts } from '../e2e/hosts.ts'
import { createService, untilRuns } from '../e2e/questions.ts'
import { stalled, starved, stopped } from '../e2e/stalls.ts'
import { type Seen, watched } from '../e2e/watching.ts'
import type { Row } from './row.ts'

const stopMs = 3_000
const stallMs = 2_000
const starveMs = 60_000

/** Agents and machines that stand still for a while and are not gone: nobody is given up, no container is touched. */
export async function busy(hosts: Hosts, rounds: number, say: (line: string) => void): Promise<Row[]> {
  await createService(hosts.host(1), 'web', '--replicas', '10')
  await untilRuns(hosts, 'web', 10)
  const each = Array.from({ length: rounds }, () => hosts.all()).flat()
  const tell = (text: string) => (seen: Seen) => {
    say(`${text}: ${describe(seen)}`)
    return { ...seen, text }
  }
  const stops = []
  for (const host of each) {
    const seen = await watched(hosts, () => stopped(hosts, host.index, stopMs))
    stops.push(tell(`host ${host.index}'s agent stopped for ${stopMs} ms`)(seen))
  }
  const stalls = []
  for (const host of each) {
    let stoodMs = 0
    const seen = await watched(hosts, async () => {
      stoodMs = await stalled(host, stallMs)
    })
    stalls.push(tell(`host ${host.index}'s main loop stood still for ${stoodMs} ms`)(seen))
  }
  const starvings = []
  for (let round = 1; round <= rounds; round += 1) {
    let share = 0
    const seen = await watched(hosts, async () => {
      share = await starved(starveMs)
    })
    starvings.push(tell(`both cores starved for ${starveMs} ms (${Math.round(share * 100)} % taken)`)(seen))
  }
  return [
    rowOf('SIGSTOP of an agent for 3 s', stops),
    rowOf('main loop still for 2 s', stalls),
    rowOf('8 busy processes for 60 s', starvings),
  ]
}

function describe(seen: Seen): string {
  const { suspicions, refusals, looks } = seen
  const wrong = wrongIn(seen)
  return `${suspicions} suspicions, ${refusals} refusals in ${looks} looks; ${wrong.length === 0 ? 'no verdict, nothing touched' : wrong.join('; ')}`
}

function wrongIn({ verdicts, touched }: Seen): string[] {
  const touches = touched.map(
    ({ host, action, service, slot }) => `${action} ${service}.${slot} on host ${host}`,
  )
  // That an agent stands still on a living host is no error, and nothing follows from it for minutes.
  const evictions = verdicts.filter(({ kind }) => kind !== 'agent-down')
  return [...evictions.map(({ text }) => text), ...touches]
}

function rowOf(what: string, all: readonly (Seen & { readonly text: string })[]): Row {
  const sum = (of: (seen: Seen) => number): number => all.reduce((total, seen) => total + of(seen), 0)
  const wrong = all
    .filter((seen) => wrongIn(seen).length > 0)
    .map((seen) => `${seen.text}: ${wrongIn(seen).join('; ')}`)
  if (all.some(({ looks }) => looks === 0)) wrong.push('nobody could be asked, so that nothing was seen')
  const note = `${sum((seen) => seen.suspicions)} suspicions, ${sum((seen) => seen.refusals)} refusals, ${sum((seen) => seen.verdicts.length)} verdicts`
  return { what, times: all.length, tookMs: [], wrong, note }
}
