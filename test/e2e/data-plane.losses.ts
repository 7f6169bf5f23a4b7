import { expect } from 'vitest'
import type { NamespaceBed } from './data-plane.bed.ts'
import type { LoadReport } from './data-plane.orders.ts'

export function expectFlawless({ kept, short }: LoadReport): void {
  expect([...kept.failures, ...short.failures]).toEqual([])
  expect(kept.answers).toBeGreaterThan(100)
  expect(short.answers).toBeGreaterThan(20)
}

const signs = ['TCPSynRetrans', 'TCPLossProbeRecovery', 'TCPFastRetrans'] as const
export type Losses = Readonly<Record<(typeof signs)[number], number>>

/**
 * Packets of TCP that were lost. Not all that were sent again: on a busy machine answers are late, and the kernel asks after them
 * (RFC 8985) though nothing is lost; it says where that was of use.
 */
export async function lostBy(bed: NamespaceBed, who: string): Promise<Losses> {
  const text = await bed.within(who, 'cat', '/proc/net/netstat')
  const [names = [], values = []] = text
    .split('\n')
    .filter((line) => line.startsWith('TcpExt:'))
    .map((line) => line.split(' '))
  return Object.fromEntries(signs.map((sign) => [sign, Number(values[names.indexOf(sign)])])) as Losses
}
