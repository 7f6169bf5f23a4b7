import type { KernelCalls } from './calls.ts'
import { isReplyRule, type Routing, routeText } from './routing.ts'

/** What is in the kernel, whoever put it there: an earlier agent, or a person. */
export async function readRouting(calls: KernelCalls, device: string): Promise<Routing> {
  const [routes, neighbours, forwarding, rules] = await Promise.all([
    calls.list('ip', ['-4', 'route', 'show', 'table', 'all', 'dev', device], 'list routes'),
    calls.list('ip', ['-4', 'neigh', 'show', 'dev', device, 'nud', 'permanent'], 'list neighbours'),
    readForwarding(calls, device),
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
    neighbours: new Map(neighbours.map(({ dst, lladdr }) => [text(dst) ?? '', text(lladdr) ?? ''])),
    forwarding,
    rules: new Map(
      rules
        .filter(({ priority }) => isReplyRule(Number(priority)))
        .map((rule) => [String(rule['priority']), ruleText(rule)]),
    ),
  }
}

/** MAC → host address, of all that is in the tunnel. */
export async function readForwarding(
  calls: KernelCalls,
  device: string,
): Promise<ReadonlyMap<string, string>> {
  const entries = await calls.list('bridge', ['fdb', 'show', 'dev', device], 'list forwarding entries')
  return new Map(
    entries.filter(({ dst }) => dst !== undefined).map(({ mac, dst }) => [text(mac) ?? '', text(dst) ?? '']),
  )
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
