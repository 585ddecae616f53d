import { EventEmitter, once } from 'node:events'
import { appendFile, mkdir, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { RunLine } from '@vm0/contract'
import type { EventScope, RunLines } from './ports.js'

/** Of one run, on disk, but for the line that says that there is no more room. */
const maxRunBytes = 255 * 1024
/** Of all runs, that wait for the disk. */
const maxWaitingLines = 2_000
const maxKnownRuns = 1_000

interface File {
  /** What was written, and is on its way; undefined until it has been looked at. */
  bytes: number | undefined
  writing: Promise<void>
}

/**
 * What the platform says of each run, one file of lines beside the run's events: for people who look for what went wrong, so
 * nothing waits for it, and it may lack what was said last before a crash. Bounded for each run; what has no room is left out,
 * and the last line says so.
 */
export function openRunLines(directory: string): RunLines {
  const changed = new EventEmitter().setMaxListeners(0)
  const files = new Map<string, File>()
  let waiting = 0
  const pathOf = ({ projectId, sessionId, runId }: EventScope): string =>
    join(directory, projectId, sessionId, `${runId}.lines`)

  const write = async (path: string, file: File, line: RunLine): Promise<void> => {
    if (file.bytes === undefined) {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      file.bytes = (await stat(path).catch(() => undefined))?.size ?? 0
      // A crash may have cut the last line off: it must not take this one with it.
      if (file.bytes > 0) await appendFile(path, '\n')
    }
    if (file.bytes >= maxRunBytes) return
    const text = `${JSON.stringify(line)}\n`
    file.bytes += Buffer.byteLength(text)
    await appendFile(path, file.bytes < maxRunBytes ? text : `${JSON.stringify(lastLine(line))}\n`, { mode: 0o600 })
    changed.emit(path)
  }

  return {
    append(scope, line) {
      if (waiting >= maxWaitingLines) return
      const path = pathOf(scope)
      const file = files.get(path) ?? { bytes: undefined, writing: Promise.resolve() }
      files.delete(path)
      files.set(path, file)
      const [oldest] = files.keys()
      if (files.size > maxKnownRuns && oldest !== undefined) files.delete(oldest)
      waiting += 1
      // A full disk, or a session that was deleted meanwhile: what is said then is lost.
      file.writing = file.writing
        .then(() => write(path, file, line))
        .catch(() => undefined)
        .finally(() => (waiting -= 1))
    },
    async *read(scope, { after, ended }) {
      const path = pathOf(scope)
      let told = after
      for (;;) {
        const isLast = ended === undefined || ended.aborted
        const wake = new AbortController()
        const change = once(changed, path, { signal: wake.signal }).catch(() => undefined)
        const stop = (): void => wake.abort()
        ended?.addEventListener('abort', stop, { once: true })
        try {
          await files.get(path)?.writing
          const lines = (await readFile(path, 'utf8').catch(() => '')).split('\n').slice(0, -1)
          for (const [index, text] of lines.entries()) {
            const line = index < told ? undefined : parse(text)
            if (line) yield { number: index + 1, line }
          }
          told = Math.max(told, lines.length)
          if (isLast) return
          if (!ended.aborted) await change
        } finally {
          ended?.removeEventListener('abort', stop)
          wake.abort()
        }
      }
    },
  }
}

function lastLine({ time }: RunLine): RunLine {
  const text = 'more was said of this run than is kept: the log of the platform has it, where its level lets it through'
  return { time, source: 'server', level: 'warn', text, details: {} }
}

function parse(text: string): RunLine | undefined {
  try {
    const line = JSON.parse(text) as RunLine | null
    return typeof line?.time === 'string' && typeof line.text === 'string' ? line : undefined
  } catch {
    return undefined
  }
}
