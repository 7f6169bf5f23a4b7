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
import { tableText } from './table-text.ts'
import { buildText, changeText } from './transaction.ts'
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
  readonly self: Plane['self']
  readonly tunnelMtu: number
  readonly wireGuard: string
  readonly bridges: BridgeAddresses
  readonly routing: Routing
  readonly fixedText: string
  readonly ruleset: Ruleset
  readonly frontends: readonly Frontend[]
  /** When it was last compared with what is really there. */
  readonly checkedMs: number
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
    return this.inTurn(async () => {
      const { known } = this
      this.known = undefined
      this.known = await this.make(plane, known, this.calls(signal))
    })
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
    return new KernelCalls(signal, this.settings.limits.callTimeoutMs)
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
  private async make(wanted: Plane, known: Known | undefined, calls: KernelCalls): Promise<Known> {
    calls.throwIfAborted()
    assertFit(wanted)
    const nowMs = performance.now()
    const isDue = known === undefined || nowMs - known.checkedMs >= this.settings.limits.checkIntervalMs
    const addresses = await bridgeAddresses(calls, wanted, isDue ? undefined : known.bridges)
    const plane = usablePlane(wanted, (bridge) => addresses.get(bridge) ?? [])
    const hasMoved = known !== undefined && !isSameSelf(known.self, plane.self)

    forwardPackets()
    const wireGuard = wireGuardText(plane)
    let sealed: WireGuardMade | undefined
    if (isDue || known.wireGuard !== wireGuard || isLaneMissing(plane.self, this.settings)) {
      sealed = await ensureWireGuard(calls, plane, this.settings)
    }
    let tunnel = known && { isNew: false, mtu: known.tunnelMtu }
    if (tunnel === undefined || isDue || hasMoved) {
      tunnel = await ensureTunnelDevice(calls, plane.self, this.settings)
      setTunnelDevice(this.settings.device)
    }
    const bridges = await this.ensureBridges(calls, plane)
    // With a bridge that was removed meanwhile the kernel removed each route whose source was the bridge's address.
    const isToRead = isDue || tunnel.isNew || sealed?.isNew === true || bridges.haveChanged
    const routing = isToRead ? await readRouting(calls, this.settings.device) : known.routing
    const wantedRouting = routingOf(plane, this.settings)
    const changes = routingChanges(routing, wantedRouting, this.settings.device)
    await calls.batch('ip', changes.ip, 'lead packets to peers')
    await calls.batch('bridge', changes.bridge, 'lead packets to peers')

    const ruleset = rulesetOf(plane, this.settings)
    const { hairpins } = ruleset.sets
    if (hairpins.size > 0 && (isDue || !isSameSet(known.ruleset.sets.hairpins, hairpins))) {
      await allowHairpins(calls, bridges.all)
    }
    if (isDue || bridges.haveChanged) await ensureDockerAccepts(calls, this.settings)
    const fixedText = tableText(plane, this.settings, tunnel.mtu)
    await this.balance(calls, { fixedText, ruleset, known, isDue })

    await calls.batch('ip', changes.ipAfterwards, 'remove what led to peers')
    await calls.batch('bridge', changes.bridgeAfterwards, 'remove what led to peers')
    await sealed?.removeRest()
    if (known === undefined || haveBackendsGone(known.frontends, plane.frontends)) {
      await forgetStaleConnections(calls, plane, known?.frontends ?? [])
    }
    return {
      self: plane.self,
      tunnelMtu: tunnel.mtu,
      wireGuard,
      bridges: addresses,
      routing: wantedRouting,
      fixedText,
      ruleset,
      frontends: plane.frontends,
      checkedMs: isDue ? nowMs : known.checkedMs,
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

  private async balance(
    calls: KernelCalls,
    to: {
      readonly fixedText: string
      readonly ruleset: Ruleset
      readonly known: Known | undefined
      readonly isDue: boolean
    },
  ): Promise<void> {
    const { fixedText, ruleset, known, isDue } = to
    const { table } = this.settings
    const what = 'replace what balances'
    if (known?.fixedText === fixedText && (!isDue || (await this.hasTable(calls)))) {
      const text = changeText(table, known.ruleset, ruleset)
      if (text === '') return
      try {
        await calls.run('nft', ['-f', '-'], what, text)
        return
      } catch (error) {
        // Somebody changed or flushed the table.
        if (!(error instanceof KernelRefusedError)) throw error
      }
    }
    await calls.run('nft', ['-f', '-'], what, buildText(table, fixedText, ruleset))
  }

  private async hasTable(calls: KernelCalls): Promise<boolean> {
    const tables = await calls.run('nft', ['list', 'tables', 'ip'], 'list tables')
    return tables.split('\n').some((line) => line.trim() === `table ip ${this.settings.table}`)
  }

  private async unmake(calls: KernelCalls): Promise<void> {
    const { device, table } = this.settings
    const bridges = (await this.hasTable(calls)) ? await this.bridgesInTable(calls) : []
    await calls.run(
      'nft',
      ['-f', '-'],
      'remove our table',
      `add table ip ${table}\ndelete table ip ${table}\n`,
    )
    await removeFromDocker(calls, this.settings)
    for (const bridge of bridges) unsetBridge(bridge)
    if (isInterface(device)) {
      const changes = routingChanges(await readRouting(calls, device), noRouting, device)
      await calls.batch('ip', changes.ipAfterwards, 'remove what led to peers')
    }
    await removeTunnelDevice(calls, device)
    await removeWireGuard(calls, this.settings)
  }

  private async bridgesInTable(calls: KernelCalls): Promise<readonly string[]> {
    const listed = await calls.run(
      'nft',
      ['list', 'set', 'ip', this.settings.table, 'bridges'],
      'list our bridges',
    )
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
