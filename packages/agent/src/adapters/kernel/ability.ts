import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { KernelRefusedError, ProgramMissingError } from '../../ports/data-plane.errors.ts'
import type { DataPlaneAbility, WireGuardAbility } from '../../ports/data-plane.ts'
import type { KernelCalls } from './calls.ts'
import { startWireGuardGo } from './wire-guard-go.ts'

const netAdmin = 1n << 12n

/** Looks for what is missing in the order in which a person would mend it. */
export async function kernelAbility(calls: KernelCalls): Promise<DataPlaneAbility> {
  if (process.platform !== 'linux') return no(`it needs Linux, this is ${process.platform}`)
  if (!mayAdministerNetworks()) {
    return no(
      'this process may not set up networks: run the agent as root, or give it CAP_NET_ADMIN (in Docker: --cap-add NET_ADMIN --network host)',
    )
  }
  const nftables = await version(calls, 'nft', ['--version'], 'nftables')
  if (nftables.kind === 'none') return nftables
  for (const [program, args, debianPackage] of programs) {
    const found = await version(calls, program, args, debianPackage)
    if (found.kind === 'none') return found
  }
  try {
    accessSync('/proc/sys/net/ipv4/ip_forward', constants.W_OK)
  } catch {
    return no('/proc/sys is mounted read-only: mount it writable ("mount -o remount,rw /proc/sys")')
  }
  const trouble = (await noZones(calls)) ?? (await noVxlan(calls)) ?? (await noBridgeFilter(calls))
  if (trouble !== undefined) return no(trouble)
  return {
    kind: 'kernel',
    version: `Linux ${release()}, ${nftables.version}`,
    wireGuard: await wireGuardAbility(calls),
  }
}

/** What an attempt is called; one that an earlier process did not come to remove goes with it. */
const attempt = 'moot-try'

/** Only the attempt tells, here too. */
async function wireGuardAbility(calls: KernelCalls): Promise<WireGuardAbility> {
  const tools = await version(calls, 'wg', ['--version'], 'wireguard-tools')
  if (tools.kind === 'none') return tools
  const remove = (): Promise<unknown> =>
    calls.run('ip', ['link', 'del', attempt], 'remove what was tried').catch(() => undefined)
  try {
    await calls.run('ip', ['link', 'add', attempt, 'type', 'wireguard'], 'make an interface')
    await remove()
    return { kind: 'kernel' }
  } catch {
    // What stands in for it may be here.
  }
  try {
    await startWireGuardGo(attempt)
    await remove()
    return { kind: 'wireguard-go' }
  } catch (error) {
    const mend = 'use a kernel with it ("modprobe wireguard"), or install the program "wireguard-go"'
    return no(`this kernel has no WireGuard, and wireguard-go does not stand in: ${wordsOf(error)}. ${mend}`)
  }
}

const programs = [
  ['ip', ['-V'], 'iproute2'],
  ['bridge', ['-V'], 'iproute2'],
  ['conntrack', ['--version'], 'conntrack'],
] as const

function no(why: string): { readonly kind: 'none'; readonly why: string } {
  return { kind: 'none', why }
}

function mayAdministerNetworks(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  return (BigInt(`0x${effective}`) & netAdmin) !== 0n
}

async function version(
  calls: KernelCalls,
  program: string,
  args: readonly string[],
  debianPackage: string,
): Promise<
  { readonly kind: 'found'; readonly version: string } | { readonly kind: 'none'; readonly why: string }
> {
  try {
    return { kind: 'found', version: (await calls.run(program, args, 'tell its version')).trim() }
  } catch (error) {
    if (error instanceof ProgramMissingError) {
      return no(`the program "${program}" is missing: install it (Debian: apt-get install ${debianPackage})`)
    }
    return no(`the program "${program}" does not work here: ${wordsOf(error)}`)
  }
}

/** The rarest of what our table asks of nf_tables. */
async function noZones(calls: KernelCalls): Promise<string | undefined> {
  const table = `ip ${attempt}`
  const text = `add table ${table}
add chain ${table} try
add rule ${table} try ct original zone set 1
delete table ${table}
`
  try {
    await calls.run('nft', ['-f', '-'], 'try nftables', text)
    return undefined
  } catch (error) {
    return `this kernel has no nftables (nf_tables) with zones of tracked connections (CONFIG_NF_CONNTRACK_ZONES): ${wordsOf(error)}`
  }
}

/**
 * Only the attempt tells: the module is loaded by it where there is one. Where there is such a tunnel already, ours from before or
 * somebody else's of that number (flannel's is 1 too), the kernel can make them.
 */
export async function noVxlan(calls: Pick<KernelCalls, 'run'>): Promise<string | undefined> {
  const trouble = await calls
    .run('ip', ['link', 'add', attempt, 'type', 'vxlan', 'id', '1', 'dstport', '0'], 'make a tunnel')
    .then(() => undefined, wordsOf)
  await calls.run('ip', ['link', 'del', attempt], 'remove the tunnel').catch(() => undefined)
  if (trouble === undefined || trouble.includes('exists')) return undefined
  return `this kernel makes no VXLAN tunnels: ${trouble}`
}

async function noBridgeFilter(calls: KernelCalls): Promise<string | undefined> {
  const sign = '/proc/sys/net/bridge/bridge-nf-call-iptables'
  if (existsSync(sign)) return undefined
  await calls.run('modprobe', ['br_netfilter'], 'load br_netfilter').catch(() => undefined)
  if (existsSync(sign)) return undefined
  return 'the kernel module br_netfilter is missing, without which containers on one host cannot be balanced to each other: "modprobe br_netfilter"'
}

function wordsOf(error: unknown): string {
  if (error instanceof KernelRefusedError) return error.words
  return error instanceof Error ? error.message : String(error)
}
