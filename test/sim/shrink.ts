import type { Act } from './acts.ts'
import type { Outcome } from './run.ts'
import { run } from './run.ts'

/**
 * The same failure with as few acts as possible (Zeller's ddmin): halves, quarters, … of the acts are left out for as
 * long as the first thing that went wrong still goes wrong. A smaller run differs in its chance too, so what is left is
 * small, not smallest.
 */
export async function shrink(
  failed: Outcome,
  options: { readonly untilMs: number; readonly onStep?: (acts: number) => void },
): Promise<Outcome> {
  const what = kindOf(failed.wrong)
  let smallest = failed
  const fails = async (acts: readonly Act[]): Promise<boolean> => {
    const outcome = await run({ seed: failed.seed, plan: { ...failed.plan, acts } })
    if (!outcome.wrong.some((line) => kindOf([line]) === what)) return false
    smallest = outcome
    options.onStep?.(acts.length)
    return true
  }
  let parts = 2
  while (smallest.plan.acts.length > 0 && performance.now() < options.untilMs) {
    const { acts } = smallest.plan
    const size = Math.ceil(acts.length / parts)
    let isSmaller = false
    for (let from = 0; from < acts.length && performance.now() < options.untilMs; from += size) {
      if (!(await fails([...acts.slice(0, from), ...acts.slice(from + size)]))) continue
      isSmaller = true
      break
    }
    if (isSmaller) parts = Math.max(2, parts - 1)
    else if (size === 1) break
    else parts = Math.min(parts * 2, acts.length)
  }
  return smallest
}

/** Names, numbers and ids aside. */
function kindOf(wrong: readonly string[]): string {
  return (wrong[0] ?? '').replaceAll(/[a-z0-9]{25}|\b\S*\d\S*\b|\b(?:api|db|web)\b/g, '#')
}
