import { EventEmitter, once } from 'node:events'
import { mkdir, open, rm, truncate, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { compareCursors, formatCursor, type EventBody, type Vm0Event } from '@vm0/contract'
import { syncPath } from './durable.js'
import { eventsFrom, lastEvent, offsetBefore } from './event-file.js'
import type { EventLog, EventScope, EventWriter } from './ports.js'

/** One NDJSON file per run. A reader sees what the file holds; a writer's process wakes the readers that it shares a process with. */
export function openEventLog(directory: string): EventLog {
  const changed = new EventEmitter().setMaxListeners(0)
  const writers = new Map<string, number>()
  const pathOf = (scope: EventScope): string =>
    join(directory, scope.projectId, scope.sessionId, `${scope.runId}.ndjson`)
  const count = (path: string, by: 1 | -1): void => {
    const now = (writers.get(path) ?? 0) + by
    if (now > 0) writers.set(path, now)
    else writers.delete(path)
    changed.emit(path)
  }

  const fileOf = async (path: string): Promise<FileHandle> => {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    return open(path, 'a', 0o600)
  }
  const writerOf = (path: string, scope: EventScope, epoch: number, seq: number): EventWriter =>
    new FileEventWriter({
      file: fileOf(path),
      scope,
      epoch,
      seq,
      folder: dirname(path),
      onWritten: () => changed.emit(path),
      onClosed: () => count(path, -1),
    })

  return {
    begin(scope, epoch) {
      const path = pathOf(scope)
      count(path, 1)
      return writerOf(path, scope, epoch, 1)
    },
    async open(scope, epoch) {
      const path = pathOf(scope)
      count(path, 1)
      try {
        return writerOf(path, scope, epoch, await repair(path, epoch))
      } catch (error) {
        count(path, -1)
        throw error
      }
    },
    async *read(scope, { after = '0.0', follow, signal, ending }) {
      const path = pathOf(scope)
      let offset = after === '0.0' ? 0 : await offsetBefore(path, after)
      for (;;) {
        // Listen first: what is written between reading and waiting must wake us.
        const wake = new AbortController()
        let fired = false
        const change = once(changed, path, { signal: wake.signal }).then(
          () => (fired = true),
          () => undefined,
        )
        const stop = (): void => wake.abort()
        signal?.addEventListener('abort', stop, { once: true })
        try {
          const unwritten = !writers.has(path)
          for await (const { event, end } of eventsFrom(path, offset)) {
            offset = end
            if (compareCursors(event.cursor, after) > 0) yield event
            if (event.type === 'run.finished') return
          }
          if (signal?.aborted) return
          // While it is written there is no need to ask: the writer will wake us.
          const last = unwritten || !follow ? await ending?.() : undefined
          if (last && !fired && !writers.has(path)) {
            yield last
            return
          }
          if (!follow && !last) return
          await change
          if (signal?.aborted) return
        } finally {
          signal?.removeEventListener('abort', stop)
          wake.abort()
        }
      }
    },
    stored: (scope) => eventsFrom(pathOf(scope), 0),
    wake: (scope) => void changed.emit(pathOf(scope)),
    removeSession: ({ projectId, sessionId }) =>
      rm(join(directory, projectId, sessionId), { recursive: true, force: true }),
  }
}

interface WriterParts {
  /** Nobody waits for it before there is something to write. */
  file: Promise<FileHandle>
  scope: EventScope
  epoch: number
  seq: number
  folder: string
  onWritten(): void
  onClosed(): void
}

class FileEventWriter implements EventWriter {
  private pending = ''
  private draining: Promise<void> | undefined
  private folderSynced = false
  private closing: Promise<void> | undefined

  constructor(private readonly parts: WriterParts) {
    parts.file.catch(() => undefined) // told by flush()
  }

  append(body: EventBody, timeMs = Date.now(), origin?: string): Vm0Event {
    const { scope, epoch } = this.parts
    const event = {
      v: 1,
      cursor: formatCursor(epoch, this.parts.seq),
      time: new Date(timeMs).toISOString(),
      runId: scope.runId,
      sessionId: scope.sessionId,
      ...body,
    } as Vm0Event
    this.parts.seq += 1
    this.pending += `${JSON.stringify(origin === undefined ? event : { ...event, origin })}\n`
    this.draining ??= this.drain()
    // A write that fails is told by flush(); until then it must not end the process.
    this.draining.catch(() => undefined)
    return event
  }

  private async drain(): Promise<void> {
    const file = await this.parts.file
    while (this.pending) {
      const text = this.pending
      this.pending = ''
      await file.appendFile(text)
      this.parts.onWritten()
    }
    this.draining = undefined
  }

  async flush(): Promise<void> {
    await this.draining
    const file = await this.parts.file
    await file.datasync()
    if (this.folderSynced) return
    await syncPath(this.parts.folder)
    this.folderSynced = true
  }

  close(): Promise<void> {
    this.closing ??= (async () => {
      try {
        await this.flush()
      } finally {
        const file = await this.parts.file.catch(() => undefined)
        await file?.close()
        this.parts.onClosed()
      }
    })()
    return this.closing
  }
}

/** Cuts a last line that a crash left half-written; returns the next number of this epoch. */
async function repair(path: string, epoch: number): Promise<number> {
  const { event, end, size } = await lastEvent(path)
  if (end < size) await truncate(path, end)
  const [lastEpoch, lastSeq] = (event?.cursor ?? '0.0').split('.').map(Number) as [number, number]
  return lastEpoch === epoch ? lastSeq + 1 : 1
}
