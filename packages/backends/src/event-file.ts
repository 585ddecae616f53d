import { createReadStream } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { compareCursors, type Vm0Event } from '@vm0/contract'

const newline = 10

/** The whole lines of a log from an offset on, each with the offset behind it. A file that isn't there has none. */
export async function* eventsFrom(
  path: string,
  offset: number,
): AsyncGenerator<{ event: Vm0Event; origin: string | undefined; end: number }> {
  const stream = createReadStream(path, { start: offset })
  let end = offset
  try {
    let rest: Buffer = Buffer.alloc(0)
    for await (const chunk of stream) {
      rest = rest.length > 0 ? Buffer.concat([rest, chunk as Buffer]) : (chunk as Buffer)
      for (let at = rest.indexOf(newline); at >= 0; at = rest.indexOf(newline)) {
        end += at + 1
        const event = parse(rest.subarray(0, at))
        if (event) yield { ...event, end }
        rest = rest.subarray(at + 1)
      }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  } finally {
    stream.destroy()
  }
}

const enoughBytes = 64 * 1024

/**
 * Where to begin reading for what comes after a cursor: a line's beginning, before which nothing does. Found by halving, as
 * cursors only grow in a log, so that a page in the middle of a long one costs no more than one at its start.
 */
export async function offsetBefore(path: string, after: string): Promise<number> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return 0
  }
  try {
    let [low, high] = [0, (await file.stat()).size]
    while (high - low > enoughBytes) {
      const middle = Math.floor((low + high) / 2)
      const found = await eventFrom(file, middle, high)
      if (found && compareCursors(found.cursor, after) <= 0) low = found.start
      else high = middle
    }
    return low
  } finally {
    await file.close()
  }
}

/** The first event whose line begins behind `from`, and ends before `to`. */
async function eventFrom(file: FileHandle, from: number, to: number) {
  for (let length = enoughBytes; ; length *= 4) {
    const bytes = Buffer.alloc(Math.min(length, to - from))
    const { bytesRead } = await file.read(bytes, 0, bytes.length, from)
    let start = bytes.indexOf(newline) + 1
    for (let end = bytes.indexOf(newline, start); start > 0 && end >= 0 && end < bytesRead;) {
      const stored = parse(bytes.subarray(start, end))
      if (stored) return { start: from + start, cursor: stored.event.cursor }
      start = end + 1
      end = bytes.indexOf(newline, start)
    }
    if (from + bytes.length >= to) return undefined
  }
}

/** The last event of a log, the offset behind its last whole line, and the file's size. Reads no more than it must. */
export async function lastEvent(path: string): Promise<{ event: Vm0Event | undefined; end: number; size: number }> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return { event: undefined, end: 0, size: 0 }
  }
  try {
    const { size } = await file.stat()
    for (let length = 64 * 1024; ; length *= 4) {
      const start = Math.max(0, size - length)
      const tail = Buffer.alloc(size - start)
      await file.read(tail, 0, tail.length, start)
      const last = tail.lastIndexOf(newline)
      const event = lastOf(tail.subarray(0, last + 1), start === 0)?.event
      if (event || start === 0) return { event, end: start + last + 1, size }
    }
  } finally {
    await file.close()
  }
}

function lastOf(lines: Buffer, fromStart: boolean): StoredEvent | undefined {
  for (let end = lines.length - 1; end > 0;) {
    const before = lines.lastIndexOf(newline, end - 1)
    if (before < 0 && !fromStart) return undefined // the line may begin before what was read
    const event = parse(lines.subarray(before + 1, end))
    if (event) return event
    end = before
  }
  return undefined
}

interface StoredEvent {
  event: Vm0Event
  origin: string | undefined
}

/** A line that isn't an event is a hole that the loss of power left: what comes after it still counts. */
function parse(line: Buffer): StoredEvent | undefined {
  try {
    const stored = JSON.parse(line.toString('utf8')) as (Vm0Event & { origin?: string }) | null
    if (typeof stored?.cursor !== 'string') return undefined
    const { origin, ...event } = stored
    return { event: event as Vm0Event, origin }
  } catch {
    return undefined
  }
}
