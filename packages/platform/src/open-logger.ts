import { join } from 'node:path'
import type { RunLines } from '@vm0/backends'
import { Vm0Error } from '@vm0/contract'
import { pino, type Level, type Logger } from 'pino'
import { rotatingFile } from './rotating-file.js'
import { runLineStream } from './run-line-stream.js'

/** The platform's own log, `vm0.log` in the data folder; what is about a run goes to the run's lines too, whatever the level of the file. */
export function openLogger(dataDir: string, runLines: RunLines, level = 'warn'): Logger {
  if (level !== 'silent' && !(level in pino.levels.values))
    throw new Vm0Error('INVALID_REQUEST', `VM0_LOG_LEVEL is ${JSON.stringify(level)}; expected one of ${levels}`, {
      hint: 'Correct or unset VM0_LOG_LEVEL in the environment of `vm0 up`.',
    })
  const ofRuns = { level: 'info' as const, stream: runLineStream(runLines) }
  const file = rotatingFile(join(dataDir, 'vm0.log'), { maxBytes: 8 * 1024 ** 2, keep: 4 })
  const streams = level === 'silent' ? [ofRuns] : [{ level: level as Level, stream: file }, ofRuns]
  const least = level !== 'silent' && (pino.levels.values[level] as number) < 30 ? level : 'info'
  return pino({ level: least, serializers: { error: pino.stdSerializers.err } }, pino.multistream(streams))
}

const levels = [...Object.keys(pino.levels.values), 'silent'].join(', ')
