import type { Routing } from './routing.ts'

/** Lines for `ip -batch -` and `bridge -batch -`. */
export interface RoutingChanges {
  /** What comes: it harms nobody before it is used. */
  readonly ip: readonly string[]
  readonly bridge: readonly string[]
  /** What goes, when nothing leads there any more. */
  readonly ipAfterwards: readonly string[]
  readonly bridgeAfterwards: readonly string[]
}

export const noRouting: Routing = {
  routes: new Map(),
  neighbours: new Map(),
  forwarding: new Map(),
  rules: new Map(),
}

export function routingChanges(from: Routing, to: Routing, device: string): RoutingChanges {
  const neighbours = difference(from.neighbours, to.neighbours)
  const routes = difference(from.routes, to.routes)
  const rules = difference(from.rules, to.rules)
  const forwarding = difference(from.forwarding, to.forwarding)
  const labelsFirst = [...rules.come].sort(([, one], [, other]) => rank(one) - rank(other))
  return {
    ip: [
      ...neighbours.come.map(
        ([peer, mac]) => `neigh replace ${peer} lladdr ${mac} dev ${device} nud permanent`,
      ),
      ...routes.come.map(([key, text]) => `route replace ${routeKey(key)} dev ${device} ${text}`),
      // There is no "replace" for rules, and two may have one priority.
      ...labelsFirst.flatMap(([priority, text]) => [
        ...(from.rules.has(priority) ? [`rule del priority ${priority}`] : []),
        `rule add priority ${priority} ${text}`,
      ]),
    ],
    bridge: forwarding.come.map(([mac, to]) => `fdb replace ${mac} dev ${device} dst ${to} self permanent`),
    ipAfterwards: [
      ...rules.gone.map((priority) => `rule del priority ${priority}`),
      ...routes.gone.map((key) => `route del ${routeKey(key)} dev ${device}`),
      ...neighbours.gone.map((peer) => `neigh del ${peer} dev ${device}`),
    ],
    bridgeAfterwards: forwarding.gone.map((mac) => `fdb del ${mac} dev ${device} self`),
  }
}

function difference(
  from: ReadonlyMap<string, string>,
  to: ReadonlyMap<string, string>,
): { readonly come: readonly (readonly [string, string])[]; readonly gone: readonly string[] } {
  return {
    come: [...to].filter(([key, value]) => from.get(key) !== value),
    gone: [...from.keys()].filter((key) => !to.has(key)),
  }
}

/** Where rules jump to is there before they do. */
function rank(rule: string): number {
  if (rule === 'nop') return 0
  return rule.includes('goto') ? 2 : 1
}

function routeKey(key: string): string {
  const [table, destination] = key.split(' ')
  return table === 'main' ? `${destination}` : `${destination} table ${table}`
}
