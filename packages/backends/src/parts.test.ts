import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sideBySide, waitedFor, type Part } from './parts.js'

const content = Buffer.from(Array.from({ length: 5000 }, (_, index) => index % 251))

/** Reads of a part that each go on when they are told to. */
class Reads {
  readonly open = new Map<number, () => void>()
  readonly asked: Part[] = []
  most = 0

  read = async function* (this: Reads, part: Part, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    this.asked.push(part)
    this.most = Math.max(this.most, this.asked.length - this.done)
    await new Promise<void>((resolve, reject) => {
      this.open.set(part.from, resolve)
      signal.addEventListener('abort', () => reject(new Error('aborted')))
    })
    for (let at = part.from; at < part.to; at += 100) yield content.subarray(at, Math.min(part.to, at + 100))
    this.done += 1
  }.bind(this)
  private done = 0
}

test('parts come in their order, whichever of them is there first, and no more than so many are on their way', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        from: fc.nat(5000),
        length: fc.nat(5000),
        partBytes: fc.integer({ min: 300, max: 2000 }),
        parallelParts: fc.integer({ min: 1, max: 5 }),
      }),
      fc.infiniteStream(fc.nat(4)),
      async ({ from, length, partBytes, parallelParts }, picks) => {
        const to = Math.min(content.length, from + length)
        const reads = new Reads()
        const kept: Uint8Array[] = []
        const all = (async () => {
          for await (const chunk of sideBySide({ from, to, etag: 'x' }, { partBytes, parallelParts }, reads.read))
            kept.push(chunk)
        })()
        let isOver = false
        void all.finally(() => (isOver = true))
        while (!isOver) {
          const waiting = [...reads.open]
          const next = waiting[(picks.next().value as number) % Math.max(1, waiting.length)]
          if (next) {
            reads.open.delete(next[0])
            next[1]()
          }
          await new Promise(setImmediate)
        }
        await all
        // What was given before is not written over by what comes later.
        expect(Buffer.concat(kept).equals(content.subarray(from, to))).toBe(true)
        expect(reads.most).toBeLessThanOrEqual(parallelParts)
        expect(reads.asked.every(({ etag, from, to }) => etag === 'x' && to - from <= partBytes)).toBe(true)
      },
    ),
    { numRuns: 60 },
  )
})

test('a part that fails is told when its turn comes, and the others are given up', async () => {
  const signals: AbortSignal[] = []
  async function* read({ from, to }: Part, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    signals.push(signal)
    if (from === 1000) throw new Error('the third part')
    yield content.subarray(from, to)
  }
  let given = 0
  const all = async (): Promise<void> => {
    const parts = sideBySide({ from: 0, to: 5000, etag: undefined }, { partBytes: 500, parallelParts: 4 }, read)
    for await (const chunk of parts) given += chunk.length
  }
  await expect(all()).rejects.toThrow('the third part')
  expect(given).toBe(1000)
  expect(signals.every(({ aborted }) => aborted)).toBe(true)
})

test('who reads no further gives up what is on its way', async () => {
  const signals: AbortSignal[] = []
  async function* read({ from, to }: Part, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    signals.push(signal)
    yield content.subarray(from, to)
    if (from > 0) await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))))
  }
  for await (const _ of sideBySide({ from: 0, to: 5000, etag: 'x' }, { partBytes: 500, parallelParts: 3 }, read)) break
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, true, true])
})

test('what comes of a source is counted, and only the time in which it was waited for', async () => {
  const count = { bytes: 0, waitedMs: 0 }
  async function* source(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < 5; at++) yield content.subarray(at * 1000, (at + 1) * 1000)
  }
  const slow = performance.now()
  for await (const _ of waitedFor(source(), count)) for (const from = performance.now(); performance.now() - from < 4;);
  expect(count.bytes).toBe(5000)
  expect(count.waitedMs).toBeLessThan((performance.now() - slow) / 2)
})
