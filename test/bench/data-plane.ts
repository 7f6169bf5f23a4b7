/**
 * How long a change of the network takes until the kernel goes by it: `node test/bench/data-plane.ts` (Linux, root). 1,000 services of 10
 * backends, half of them published, among 500 members. One JSON line per measure: the median, in ms as the agent's process sees it.
 */
import type { Plane } from '../../packages/agent/src/core/network/plane.ts'
import { namespaceBed } from '../e2e/data-plane.bed.ts'
import { changed, largePlane, swapped } from '../e2e/data-plane.large.ts'
import { percentile } from '../percentile.ts'

const bed = await namespaceBed()
try {
  const apply = async (plane: Plane): Promise<number> =>
    Number(await bed.order('host1', { do: 'apply', plane }))
  const plane = largePlane()
  await report('first', 1, () => apply(plane))
  await report('nothing', 5, () => apply(plane))
  await report('one backend less, and back', 20, (round) =>
    apply(changed(plane, round, (backends) => backends.slice(round % 2))),
  )
  await report('one backend of each of 15 services', 10, (round) =>
    apply({
      ...plane,
      frontends: plane.frontends.map((each, index) => (index % 100 === round ? swapped(each) : each)),
    }),
  )
  await report('a service less, and back', 10, (round) =>
    apply(round % 2 === 0 ? { ...plane, frontends: plane.frontends.slice(2) } : plane),
  )
  await report('a member less, and back', 10, (round) =>
    apply(round % 2 === 0 ? { ...plane, peers: plane.peers.slice(1) } : plane),
  )
  await bed.replaceAgent(1)
  await report('taken over by the next agent', 1, () => apply(plane))
} finally {
  await bed.close()
}

async function report(
  measure: string,
  times: number,
  work: (round: number) => Promise<number>,
): Promise<void> {
  const figures: number[] = []
  for (let round = 0; round < times; round += 1) figures.push(await work(round))
  const [medianMs, maxMs] = [0.5, 1].map((share) => Math.round(percentile(figures, share) ?? 0))
  console.log(JSON.stringify({ measure, times, medianMs, maxMs }))
}
