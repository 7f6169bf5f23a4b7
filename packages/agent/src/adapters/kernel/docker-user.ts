import { KernelRefusedError, ProgramMissingError } from '../../ports/data-plane.errors.ts'
import type { KernelCalls } from './calls.ts'
import { hex, type KernelSettings, ourMarkMask } from './settings.ts'

/** Docker's own chain for other people's rules: it is passed before all of its own. */
const chain = 'DOCKER-USER'

/** One rule: what our table let through (`table-text.ts`) is not dropped by Docker's policy. */
export async function ensureDockerAccepts(calls: KernelCalls, settings: KernelSettings): Promise<void> {
  const rules = await dockerUserRules(calls)
  const rule = acceptRule(settings)
  if (rules === undefined || rules.includes(`-A ${chain} ${rule.join(' ')}`)) return
  await calls.run('iptables', ['--wait', '5', '-I', chain, ...rule], `let our packets through ${chain}`)
}

export async function removeFromDocker(calls: KernelCalls, settings: KernelSettings): Promise<void> {
  const rules = await dockerUserRules(calls)
  const rule = acceptRule(settings)
  if (rules?.includes(`-A ${chain} ${rule.join(' ')}`) !== true) return
  await calls.run('iptables', ['--wait', '5', '-D', chain, ...rule], `take our rule out of ${chain}`)
}

/** Undefined where Docker has made no such chain, because it does not run, or leaves iptables alone. */
async function dockerUserRules(calls: KernelCalls): Promise<readonly string[] | undefined> {
  try {
    const listed = await calls.run('iptables', ['--wait', '5', '-S', chain], `list the rules of ${chain}`)
    return listed.split('\n').map((line) => line.trim())
  } catch (error) {
    if (error instanceof KernelRefusedError || error instanceof ProgramMissingError) return undefined
    throw error
  }
}

function acceptRule({ mark }: KernelSettings): readonly string[] {
  return ['-m', 'mark', '--mark', `${hex(mark)}/${hex(ourMarkMask)}`, '-j', 'ACCEPT']
}
