/** A range of an object, up to a byte that it is without; of the object with this tag. */
export interface Part {
  from: number
  to: number
  etag: string | undefined
}

/** Passes a source on; counts what came of it, and how long that was waited for. */
export async function* waitedFor(
  source: AsyncIterable<Uint8Array>,
  count: { bytes: number; waitedMs: number },
): AsyncGenerator<Uint8Array> {
  let sinceMs = performance.now()
  for await (const chunk of source) {
    count.waitedMs += performance.now() - sinceMs
    count.bytes += chunk.length
    yield chunk
    sinceMs = performance.now()
  }
}

const chunkBytes = 64 * 1024

/** A range in parts that are read side by side, given in their order; they lie in memory until their turn comes. */
export async function* sideBySide(
  { from, to, etag }: Part,
  { partBytes, parallelParts }: { partBytes: number; parallelParts: number },
  read: (part: Part, signal: AbortSignal) => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const abort = new AbortController()
  const ahead: Promise<{ memory: SharedArrayBuffer; bytes: Uint8Array }>[] = []
  let asked = from
  const ask = (memory: SharedArrayBuffer): void => {
    if (asked >= to) return
    const part = { from: asked, to: Math.min(to, asked + partBytes), etag }
    asked = part.to
    const coming = fill(memory, read(part, abort.signal))
    // Told when its turn comes.
    coming.catch(() => undefined)
    ahead.push(coming)
  }
  try {
    // Shared memory doesn't count as what a collection of garbage could free, and so calls for none.
    for (let number = 0; number < parallelParts && asked < to; number++) ask(new SharedArrayBuffer(partBytes))
    for (let next; (next = ahead.shift()) !== undefined;) {
      const { memory, bytes } = await next
      // Whoever reads may keep what it gets; the memory of the part is used again.
      for (let at = 0; at < bytes.length; at += chunkBytes) yield Buffer.from(bytes.subarray(at, at + chunkBytes))
      ask(memory)
    }
  } finally {
    abort.abort()
  }
}

async function fill(
  memory: SharedArrayBuffer,
  source: AsyncIterable<Uint8Array>,
): Promise<{ memory: SharedArrayBuffer; bytes: Uint8Array }> {
  const bytes = new Uint8Array(memory)
  let filled = 0
  for await (const chunk of source) {
    bytes.set(chunk, filled)
    filled += chunk.length
  }
  return { memory, bytes: bytes.subarray(0, filled) }
}
