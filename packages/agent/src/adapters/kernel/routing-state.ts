import type { KernelPeer } from '../../ports/data-plane.ts'
import type { KernelCalls } from './calls.ts'
import { isReplyRule, markOfHop, type Routing, routeText } from './routing.ts'

/** What is in the kernel, whoever put it there: an earlier agent, or a person. */
export async function readRouting(calls: KernelCalls, device: string): Promise<Routing> {
  const [routes, ways, rules] = await Promise.all([
    calls.list('ip', ['-4', 'route', 'show', 'table', 'all', 'dev', device], 'list routes'),
    readWays(calls, device),
    calls.list('ip', ['-4', 'rule', 'show'], 'list routing rules'),
  ])
  return {
    routes: new Map(
      // The kernel's own table says what is an address of this host.
      routes
        .filter(({ table }) => table !== 'local')
        .map(({ dst, table, gateway, prefsrc }) => [
          `${text(table) ?? 'main'} ${text(dst)}`,
          routeText(text(gateway), text(prefsrc)),
        ]),
    ),
    ...ways,
    rules: new Map(
      rules
        .filter(({ priority }) => isReplyRule(Number(priority)))
        .map((rule) => [String(rule['priority']), ruleText(rule)]),
    ),
  }
}

/** Who is in the tunnel, and what connections that came through them are marked with. */
export async function readPeers(calls: KernelCalls, device: string): Promise<readonly KernelPeer[]> {
  const { neighbours, forwarding } = await readWays(calls, device)
  return [...neighbours].flatMap(([hop, mac]) => {
    const [way, mark] = [forwarding.get(mac), markOfHop(hop)]
    const [underlay] = way?.split(' ') ?? []
    return underlay === undefined || mark === undefined ? [] : [{ mac, underlay, mark }]
  })
}

async function readWays(
  calls: KernelCalls,
  device: string,
): Promise<Pick<Routing, 'neighbours' | 'forwarding'>> {
  const [neighbours, forwarding] = await Promise.all([
    calls.list('ip', ['-4', 'neigh', 'show', 'dev', device, 'nud', 'permanent'], 'list neighbours'),
    calls.list('bridge', ['fdb', 'show', 'dev', device], 'list forwarding entries'),
  ])
  return {
    neighbours: new Map(neighbours.map(({ dst, lladdr }) => [text(dst) ?? '', text(lladdr) ?? ''])),
    forwarding: new Map(
      forwarding
        .filter(({ dst }) => dst !== undefined)
        .map(({ mac, dst, viaIf }) => [
          text(mac) ?? '',
          viaIf === undefined ? (text(dst) ?? '') : `${text(dst)} via ${text(viaIf)}`,
        ]),
    ),
  }
}

function ruleText(rule: Readonly<Record<string, unknown>>): string {
  if ('nop' in rule) return 'nop'
  const match = `${'not' in rule ? 'not ' : ''}fwmark ${padded(rule['fwmark'])}/${padded(rule['fwmask'])}`
  return 'goto' in rule ? `${match} goto ${text(rule['goto'])}` : `${match} lookup ${text(rule['table'])}`
}

/** As we write it: `ip` leaves out leading zeros. */
function padded(mark: unknown): string {
  return `0x${(text(mark) ?? '').replace(/^0x/, '').padStart(8, '0')}`
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
}
