/** A cursor is `epoch.seq`; see the envelope of an event. */
export function formatCursor(epoch: number, seq: number): string {
  return `${epoch}.${seq}`
}

/** Order of two cursors: negative when `a` comes first. */
export function compareCursors(a: string, b: string): number {
  const [aEpoch = 0, aSeq = 0] = a.split('.').map(Number)
  const [bEpoch = 0, bSeq = 0] = b.split('.').map(Number)
  return aEpoch - bEpoch || aSeq - bSeq
}
