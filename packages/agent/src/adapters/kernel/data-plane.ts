import type { Frontend, Plane } from '../../core/network/plane.ts'
import { KernelRefusedError } from '../../ports/data-plane.errors.ts'
import type { DataPlane, DataPlaneAbility, Tunnel } from '../../ports/data-plane.ts'
import { kernelAbility } from './ability.ts'
import { type BridgeAddresses, bridgeAddresses } from './bridge-addresses.ts'
import { allowHairpins, filterBridge } from './bridge-ports.ts'
import { KernelCalls } from './calls.ts'
import { ensureDockerAccepts, removeFromDocker } from './docker-user.ts'
import {
  forwardPackets,
  isBridgeSet,
  isInterface,
  setBridge,
  setTunnelDevice,
  unsetBridge,
} from './interface-settings.ts'
import { noRouting, routingChanges } from './routing-changes.ts'
import { readRouting } from './routing-state.ts'
import { type Routing, routingOf } from './routing.ts'
import { type Ruleset, rulesetOf } from './ruleset.ts'
import { type KernelOptions, type KernelSettings, settingsFrom } from './settings.ts'
import { forgetStaleConnections, haveBackendsGone } from './stale-connections.ts'
import { rulesText } from './table-text.ts'
import { buildText, changeText, deleteText, enforceText } from './transaction.ts'
import { ensureTunnelDevice, readTunnel, removeTunnelDevice } from './tunnel-device.ts'
import { assertFit, hostedNetworks, usablePlane } from './usable-plane.ts'
import {
  ensureWireGuard,
  isLaneMissing,
  removeWireGuard,
  wireGuardText,
  type WireGuardMade,
} from './wire-guard.ts'

/** What the kernel holds, as far as this process knows: it put it there. */
interface Known {
  readonly wanted: Plane
  readonly self: Plane['self']
  readonly tunnelMtu: number
  readonly wireGuard: string
  readonly bridges: BridgeAddresses
  readonly routing: Routing
  /** The one of our tables that is in force. */
  readonly table: string
  readonly fixedText: string
  readonly ruleset: Ruleset
  readonly frontends: readonly Frontend[]
}

/** The Linux kernel as a data plane: of this process' own network namespace. */
export function createKernelDataPlane(options: KernelOptions): DataPlane {
  return new KernelDataPlane(settingsFrom(options))
}

class KernelDataPlane implements DataPlane {
  private readonly settings: KernelSettings
  /** Undefined at first and after any failure: then all is read and built anew. */
  private known: Known | undefined
  private last: Promise<unknown> = Promise.resolve()

  constructor(settings: KernelSettings) {
    this.settings = settings
  }

  ability(signal: AbortSignal): Promise<DataPlaneAbility> {
    return kernelAbility(this.calls(signal))
  }

  apply(plane: Plane, signal: AbortSignal): Promise<void> {
    return this.inTurn(() => this.remake(plane, { isCheck: false }, signal))
  }

  check(signal: AbortSignal): Promise<void> {
    return this.inTurn(async () => {
      if (this.known !== undefined) await this.remake(this.known.wanted, { isCheck: true }, signal)
    })
  }

  private async remake(plane: Plane, how: { readonly isCheck: boolean }, signal: AbortSignal): Promise<void> {
    const { known } = this
    this.known = undefined
    this.known = await this.make(plane, known, this.calls(signal), how)
  }

  isIntact(): boolean {
    // wireguard-go is a process, and its interface goes with it.
    return this.known === undefined || !isLaneMissing(this.known.self, this.settings)
  }

  tunnel(signal: AbortSignal): Promise<Tunnel | undefined> {
    return readTunnel(this.calls(signal), this.settings.device)
  }

  clear(signal: AbortSignal): Promise<void> {
    return this.inTurn(() => {
      this.known = undefined
      return this.unmake(this.calls(signal))
    })
  }

  private calls(signal: AbortSignal): KernelCalls {
    return new KernelCalls(signal, this.settings.callTimeoutMs)
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(work)
    this.last = turn.catch(() => undefined)
    return turn
  }

  /**
   * In an order in which a packet always finds its way: first what leads to peers, then in one transaction what balances,
   * then what nothing leads to any more.
   */
  private async make(
    wanted: Plane,
    known: Known | undefined,
    calls: KernelCalls,
    { isCheck }: { readonly isCheck: boolean },
  ): Promise<Known> {
    calls.throwIfAborted()
    assertFit(wanted)
    const isAnew = known === undefined || isCheck
    const addresses = await bridgeAddresses(calls, wanted, isAnew ? undefined : known.bridges)
    const plane = usablePlane(wanted, (bridge) => addresses.get(bridge) ?? [])
    const hasMoved = known !== undefined && !isSameSelf(known.self, plane.self)

    forwardPackets()
    const wireGuard = wireGuardText(plane)
    let sealed: WireGuardMade | undefined
    if (isAnew || known.wireGuard !== wireGuard || isLaneMissing(plane.self, this.settings)) {
      sealed = await ensureWireGuard(calls, plane, this.settings)
    }
    let tunnel = known && { isNew: false, mtu: known.tunnelMtu }
    if (tunnel === undefined || isAnew || hasMoved) {
      tunnel = await ensureTunnelDevice(calls, plane.self, this.settings)
      setTunnelDevice(this.settings.device)
    }
    const bridges = await this.ensureBridges(calls, plane)
    // With a bridge that was removed meanwhile the kernel removed each route whose source was the bridge's address.
    const isToRead = isAnew || tunnel.isNew || sealed?.isNew === true || bridges.haveChanged
    const routing = isToRead ? await readRouting(calls, this.settings.device) : known.routing
    const wantedRouting = routingOf(plane, this.settings)
    const changes = routingChanges(routing, wantedRouting, this.settings.device)
    await calls.batch('ip', changes.ip, 'lead packets to peers')
    await calls.batch('bridge', changes.bridge, 'lead packets to peers')

    const ruleset = rulesetOf(plane, this.settings)
    const { hairpins } = ruleset.sets
    if (hairpins.size > 0 && (isAnew || !isSameSet(known.ruleset.sets.hairpins, hairpins))) {
      await allowHairpins(calls, bridges.all)
    }
    if (isAnew || bridges.haveChanged) await ensureDockerAccepts(calls, this.settings)
    const fixedText = rulesText(plane, this.settings, tunnel.mtu)
    const table = await this.balance(calls, { fixedText, ruleset, known, isAnew })

    await calls.batch('ip', changes.ipAfterwards, 'remove what led to peers')
    await calls.batch('bridge', changes.bridgeAfterwards, 'remove what led to peers')
    await sealed?.removeRest()
    if (known === undefined || haveBackendsGone(known.frontends, plane.frontends)) {
      await forgetStaleConnections(calls, plane, known?.frontends ?? [])
    }
    return {
      wanted,
      self: plane.self,
      tunnelMtu: tunnel.mtu,
      wireGuard,
      bridges: addresses,
      routing: wantedRouting,
      table,
      fixedText,
      ruleset,
      frontends: plane.frontends,
    }
  }

  private async ensureBridges(
    calls: KernelCalls,
    plane: Plane,
  ): Promise<{ readonly all: ReadonlySet<string>; readonly haveChanged: boolean }> {
    const all = hostedNetworks(plane).map(({ bridge }) => bridge.name)
    const fresh = all.filter((name) => !isBridgeSet(name))
    await calls.batch('ip', fresh.map(filterBridge), 'set bridges')
    for (const name of fresh) setBridge(name)
    return { all: new Set(all), haveChanged: fresh.length > 0 }
  }

  /** @returns the table that is in force now. */
  private async balance(
    calls: KernelCalls,
    to: {
      readonly fixedText: string
      readonly ruleset: Ruleset
      readonly known: Known | undefined
      readonly isAnew: boolean
    },
  ): Promise<string> {
    const { fixedText, ruleset, known, isAnew } = to
    if (
      known?.fixedText === fixedText &&
      (!isAnew || (await this.tablesThere(calls)).includes(known.table))
    ) {
      const text = changeText(known.table, known.ruleset, ruleset)
      if (text === '') return known.table
      try {
        await calls.run('nft', ['-f', '-'], 'change what balances', text)
        return known.table
      } catch (error) {
        // Somebody changed or flushed the table.
        if (!(error instanceof KernelRefusedError)) throw error
      }
    }
    const former = known?.table ?? (await this.tableInForce(calls))
    return this.replaceTable(calls, former, { fixedText, ruleset })
  }

  /**
   * For a moment both are in force. Were one deleted in the transaction that brings the other, a packet on its way could have met the
   * new one before it and the old one after it, and so neither.
   */
  private async replaceTable(
    calls: KernelCalls,
    former: string | undefined,
    { fixedText, ruleset }: Pick<Known, 'fixedText' | 'ruleset'>,
  ): Promise<string> {
    const [first, second] = this.settings.tables
    const next = former === first ? second : first
    const nft = (what: string, text: string): Promise<string> => calls.run('nft', ['-f', '-'], what, text)
    await nft('build what balances', buildText(next, ruleset))
    await nft('put what balances in force', enforceText(next, fixedText))
    if (former !== undefined) await nft('remove what balanced before', deleteText(former))
    return next
  }

  private async tableInForce(calls: KernelCalls): Promise<string | undefined> {
    const [one, other] = await this.tablesThere(calls)
    if (one === undefined || other === undefined) return one
    // An agent was killed while it replaced one by the other.
    return (await this.isInForce(calls, one)) ? one : other
  }

  private async isInForce(calls: KernelCalls, table: string): Promise<boolean> {
    try {
      await calls.run('nft', ['list', 'chain', 'ip', table, 'forward'], 'look for rules in force')
      return true
    } catch (error) {
      if (error instanceof KernelRefusedError) return false
      throw error
    }
  }

  private async tablesThere(calls: KernelCalls): Promise<readonly string[]> {
    const listed = await calls.run('nft', ['list', 'tables', 'ip'], 'list tables')
    const lines = new Set(listed.split('\n').map((line) => line.trim()))
    return this.settings.tables.filter((table) => lines.has(`table ip ${table}`))
  }

  private async unmake(calls: KernelCalls): Promise<void> {
    const { device, tables } = this.settings
    const table = await this.tableInForce(calls)
    const bridges = table === undefined ? [] : await this.bridgesIn(table, calls)
    await calls.run('nft', ['-f', '-'], 'remove our tables', tables.map(deleteText).join(''))
    await removeFromDocker(calls, this.settings)
    for (const bridge of bridges) unsetBridge(bridge)
    if (isInterface(device)) {
      const changes = routingChanges(await readRouting(calls, device), noRouting, device)
      await calls.batch('ip', changes.ipAfterwards, 'remove what led to peers')
    }
    await removeTunnelDevice(calls, device)
    await removeWireGuard(calls, this.settings)
  }

  private async bridgesIn(table: string, calls: KernelCalls): Promise<readonly string[]> {
    const listed = await calls.run('nft', ['list', 'set', 'ip', table, 'bridges'], 'list our bridges')
    return [...listed.matchAll(/"([\w.-]+)"/g)].map(([, name = '']) => name)
  }
}

function isSameSelf(one: Plane['self'], other: Plane['self']): boolean {
  const areAlike = (one.keys === undefined) === (other.keys === undefined)
  return areAlike && one.underlay === other.underlay && one.mac === other.mac
}

function isSameSet(one: ReadonlyMap<string, unknown>, other: ReadonlyMap<string, unknown>): boolean {
  return one.size === other.size && [...other.keys()].every((key) => one.has(key))
}
