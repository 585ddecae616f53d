import type { RunLines } from '@vm0/backends'
import type { LogLevel, RunLine } from '@vm0/contract'

const maxTextChars = 500
/** Of a line that says nothing about a run, or is told as something else. */
const left = new Set(['level', 'time', 'msg', 'source', 'pid', 'hostname', 'projectId', 'sessionId', 'runId', 'error'])

/** Hands the lines of a logger that are about a run to the run's own lines. */
export function runLineStream(lines: RunLines): { write(text: string): void } {
  return {
    write(text) {
      if (!text.includes('"runId":"')) return
      const logged = JSON.parse(text) as Record<string, unknown>
      const { projectId, sessionId, runId } = logged
      if (typeof projectId !== 'string' || typeof sessionId !== 'string' || typeof runId !== 'string') return
      lines.append({ projectId, sessionId, runId }, runLineOf(logged))
    },
  }
}

/**
 * A logger's line as the users of a run may see it: what it says and its figures. Of an error the code and the message: where
 * in the platform it came from is the operator's.
 */
export function runLineOf(logged: Record<string, unknown>): RunLine {
  const { level, time, msg, source, error } = logged
  const details: RunLine['details'] = {}
  for (const [name, value] of Object.entries(logged)) {
    if (left.has(name)) continue
    if (typeof value === 'string') details[name] = value.slice(0, maxTextChars)
    else if (typeof value === 'number' || typeof value === 'boolean') details[name] = value
  }
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  if (typeof code === 'string') details.code = code
  const why = typeof message === 'string' ? `: ${message}` : ''
  return {
    time: new Date(typeof time === 'number' ? time : Date.now()).toISOString(),
    source: source === 'sandbox' || source === 'server' ? source : 'runner',
    level: levelOf(Number(level)),
    text: `${typeof msg === 'string' ? msg : ''}${why}`.slice(0, maxTextChars),
    details,
  }
}

function levelOf(level: number): LogLevel {
  if (level >= 50) return 'error'
  if (level >= 40) return 'warn'
  return level >= 30 ? 'info' : 'debug'
}
