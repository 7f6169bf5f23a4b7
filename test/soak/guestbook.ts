import { deployGuestbook, powerOffUnderLoad, type Pressure, updateAndDrain } from '../e2e/guestbook-trials.ts'
import type { Hosts } from '../e2e/hosts.ts'
import { allReady, untilRuns } from '../e2e/questions.ts'
import { web, replicas } from '../e2e/guestbook-trials.ts'
import type { Row } from './row.ts'

const boundMs = 1_000
const pressure: Pressure = { kept: 600, single: 400, atLeast: 110_000 }

/** examples/guestbook under constant load through all hosts: an update and a drain; and hosts that lose their power. */
export async function guestbook(
  hosts: Hosts,
  times: number,
  say: (line: string) => void,
): Promise<readonly Row[]> {
  await deployGuestbook(hosts)
  const reports = await updateAndDrain(hosts, pressure)
  const requests = reports.reduce((sum, report) => sum + report.requests, 0)
  for (const { requests: made, failedBy, latencyMs } of reports)
    say(`${made} requests, p99 ${latencyMs.p99} ms, failed: ${JSON.stringify(failedBy)}`)
  const failed = reports.flatMap((report) => report.failures)
  const rows: Row[] = [
    {
      what: 'guestbook: update and drain under load',
      times: 1,
      tookMs: [],
      note: `${requests} requests`,
      wrong: failed.slice(0, 10).map((failure) => JSON.stringify(failure)),
    },
  ]
  const tookMs: number[] = []
  const wrong: string[] = []
  for (let round = 1; round <= times; round += 1) {
    await allReady(hosts)
    const { victim, failures, lastedMs } = await powerOffUnderLoad(hosts, { ...pressure, atLeast: 0 })
    tookMs.push(lastedMs)
    say(
      `power-off ${round}, host ${victim.index}: ${failures.length} failed, the last begun ${Math.round(lastedMs)} ms after it`,
    )
    const isLate = lastedMs > boundMs
    for (const failure of failures.filter(({ cause }) => isLate || cause.startsWith('status')))
      wrong.push(JSON.stringify(failure))
    await hosts.start(victim.index)
    await allReady(hosts)
    await untilRuns(hosts, web, replicas)
  }
  rows.push({ what: 'guestbook: power off a host under load', times, tookMs, boundMs, wrong })
  return rows
}
