/** Whole numbers of 32 bits, the same for the same seed (mulberry32). */
export function uint32From(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}

/** The same as numbers of at least 0 and less than 1. */
export function randomFrom(seed: number): () => number {
  const next = uint32From(seed)
  return () => next() / 2 ** 32
}
