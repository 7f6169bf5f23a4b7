/** So many of them at most, in random order, each order as likely: who is tried first, and who next where that one refuses. */
export function drawn<T>(all: readonly T[], most: number, random: () => number): readonly T[] {
  const left = [...all]
  const chosen: T[] = []
  while (left.length > 0 && chosen.length < most) {
    const at = Math.floor(random() * left.length)
    const each = left[at] as T
    left[at] = left[left.length - 1] as T
    left.pop()
    chosen.push(each)
  }
  return chosen
}
