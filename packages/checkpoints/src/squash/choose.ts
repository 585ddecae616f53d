/** What is left of a chain after a squash: its layers below the returned index, and one more. */
const keptLayers = 7

/**
 * From which layer on a chain that is longer than `maxLayers` is made one layer; undefined: not at all. Takes what must
 * be taken, and further down each layer that isn't larger than all above it: a large old layer is copied only when as much
 * has come on top of it, so a byte is copied a number of times that grows as the logarithm of what the session wrote.
 */
export function chooseSquash(sizes: readonly number[], maxLayers: number): number | undefined {
  if (sizes.length <= maxLayers) return undefined
  let from = Math.min(keptLayers, maxLayers - 1)
  let above = sizes.slice(from).reduce((sum, size) => sum + size, 0)
  while (from > 0 && (sizes[from - 1] as number) <= above) {
    from -= 1
    above += sizes[from] as number
  }
  return from
}
