import { EventEmitter, once } from 'node:events'
import { createReadStream } from 'node:fs'
import { mkdir, open, readFile, rm, truncate, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { compareCursors, formatCursor, type EventBody, type Vm0Event } from '@vm0/contract'
import type { EventLog, EventScope, EventWriter } from './ports.js'

/** One NDJSON file per run. A reader sees what the file holds; a writer's process wakes the readers that it shares a process with. */
export function openEventLog(directory: string): EventLog {
  const written = new EventEmitter().setMaxListeners(0)
  const pathOf = (scope: EventScope): string =>
    join(directory, scope.projectId, scope.sessionId, `${scope.runId}.ndjson`)
  return {
    async open(scope, epoch) {
      const path = pathOf(scope)
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      const nextSeq = await repair(path, epoch)
      return new FileEventWriter(await open(path, 'a', 0o600), scope, epoch, nextSeq, () => written.emit(path))
    },
    async *read(scope, { after = '0.0', follow, signal }) {
      const path = pathOf(scope)
      let offset = 0
      for (;;) {
        // Listen first: what is written between reading and waiting must wake us.
        const wake = new AbortController()
        const changed = once(written, path, { signal: wake.signal }).catch(() => undefined)
        const stop = (): void => wake.abort()
        signal?.addEventListener('abort', stop, { once: true })
        try {
          for await (const { event, end } of eventsFrom(path, offset)) {
            offset = end
            if (compareCursors(event.cursor, after) > 0) yield event
            if (event.type === 'run.finished') return
          }
          if (!follow || signal?.aborted) return
          await changed
          if (signal?.aborted) return
        } finally {
          signal?.removeEventListener('abort', stop)
          wake.abort()
        }
      }
    },
    remove: (scope) => rm(pathOf(scope), { force: true }),
  }
}

class FileEventWriter implements EventWriter {
  private pending = ''
  private draining: Promise<void> | undefined

  constructor(
    private readonly file: FileHandle,
    private readonly scope: EventScope,
    private readonly epoch: number,
    private seq: number,
    private readonly notify: () => void,
  ) {}

  append(body: EventBody, timeMs = Date.now()): Vm0Event {
    const event = {
      v: 1,
      cursor: formatCursor(this.epoch, this.seq),
      time: new Date(timeMs).toISOString(),
      runId: this.scope.runId,
      sessionId: this.scope.sessionId,
      ...body,
    } as Vm0Event
    this.seq += 1
    this.pending += `${JSON.stringify(event)}\n`
    this.draining ??= this.drain()
    // A write that fails is told by flush(); until then it must not end the process.
    this.draining.catch(() => undefined)
    return event
  }

  private async drain(): Promise<void> {
    while (this.pending) {
      const text = this.pending
      this.pending = ''
      await this.file.appendFile(text)
      this.notify()
    }
    this.draining = undefined
  }

  async flush(): Promise<void> {
    await this.draining
    await this.file.datasync()
  }

  async close(): Promise<void> {
    try {
      await this.flush()
    } finally {
      await this.file.close()
    }
  }
}

async function* eventsFrom(path: string, offset: number): AsyncGenerator<{ event: Vm0Event; end: number }> {
  const stream = createReadStream(path, { start: offset })
  let end = offset
  try {
    let rest: Buffer = Buffer.alloc(0)
    for await (const chunk of stream) {
      rest = rest.length > 0 ? Buffer.concat([rest, chunk as Buffer]) : (chunk as Buffer)
      for (let newline = rest.indexOf(10); newline >= 0; newline = rest.indexOf(10)) {
        end += newline + 1
        yield { event: JSON.parse(rest.subarray(0, newline).toString('utf8')) as Vm0Event, end }
        rest = rest.subarray(newline + 1)
      }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  } finally {
    stream.destroy()
  }
}

/** Cuts a last line that a crash left half-written; returns the next number of this epoch. */
async function repair(path: string, epoch: number): Promise<number> {
  const content = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return Buffer.alloc(0)
    throw error
  })
  const whole = content.lastIndexOf(10) + 1
  if (whole < content.length) await truncate(path, whole)
  let next = 1
  for (const line of content.subarray(0, whole).toString('utf8').split('\n')) {
    if (!line) continue
    const [lineEpoch, seq] = (JSON.parse(line) as Vm0Event).cursor.split('.').map(Number)
    if (lineEpoch === epoch && seq !== undefined) next = Math.max(next, seq + 1)
  }
  return next
}
