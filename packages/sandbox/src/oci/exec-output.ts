import type { Readable } from 'node:stream'

export interface OutputChunk {
  stream: 'stdout' | 'stderr'
  data: Uint8Array
}

/** How long after a command's end its streams are still waited for, when something that it left behind holds them. */
const quietMs = 200
/** More than the kernel and Node hold back: what comes after that was written after the command's end. */
const heldBackBytes = 1024 ** 2
const maxQueued = 16

/**
 * Both streams in the order in which they arrive, with back-pressure. Over when both have ended, or when the command has
 * (`ended` settles) and all it wrote is read: a child that goes on with the streams must not keep the caller waiting.
 */
export async function* outputOf(
  stdout: Readable,
  stderr: Readable,
  ended: Promise<unknown>,
): AsyncGenerator<OutputChunk> {
  const queue: OutputChunk[] = []
  const open = new Set<Readable>([stdout, stderr])
  let wake: () => void = () => undefined
  let seen = 0
  let allowed = Number.POSITIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  const cut = (): void => {
    open.clear()
    clearTimeout(timer)
    wake()
  }
  const waitForQuiet = (): void => {
    clearTimeout(timer)
    const before = seen
    timer = setTimeout(() => {
      // A busy process comes to its timers before it reads: what is there by now is read first.
      setImmediate(() => setImmediate(() => (queue.length > 0 || seen > before ? waitForQuiet() : cut())))
    }, quietMs)
  }
  for (const [stream, readable] of [
    ['stdout', stdout],
    ['stderr', stderr],
  ] as const) {
    readable.on('data', (data: Uint8Array) => {
      queue.push({ stream, data })
      if (queue.length >= maxQueued) for (const each of open) each.pause()
      seen += data.length
      if (seen > allowed) cut()
      wake()
    })
    readable.on('error', () => undefined)
    readable.once('close', () => {
      open.delete(readable)
      wake()
    })
  }
  void ended
    .catch(() => undefined)
    .then(() => {
      allowed = seen + heldBackBytes
      waitForQuiet()
    })
  try {
    while (queue.length > 0 || open.size > 0) {
      const chunk = queue.shift()
      if (chunk) {
        yield chunk
        if (queue.length < maxQueued) for (const each of open) each.resume()
      } else await new Promise<void>((resolve) => (wake = resolve))
    }
  } finally {
    clearTimeout(timer)
    stdout.destroy()
    stderr.destroy()
  }
}
