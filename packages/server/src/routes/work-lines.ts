import { once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import { toVm0Error } from '@vm0/contract'
import type { FastifyReply } from 'fastify'
import { withHeartbeat } from './heartbeat.js'

const heartbeatMs = 15_000

export interface LinesCall<Line> {
  /** Resolves when the client has room for more, or has left. */
  say(line: Line): Promise<void>
  /** Aborts when the client leaves. */
  signal: AbortSignal
}

/** Answers by NDJSON: what the work tells while it goes on, then what it ends with, or an error. It ends early when the client leaves. */
export function answerLines<Line extends { type: string }>(
  reply: FastifyReply,
  work: (call: LinesCall<Line>) => Promise<Line>,
): FastifyReply {
  const gone = new AbortController()
  reply.raw.once('close', () => gone.abort())
  const lines = new PassThrough({ encoding: 'utf8' })
  const say = async (line: object): Promise<void> => {
    if (lines.write(`${JSON.stringify(line)}\n`) || gone.signal.aborted) return
    await once(lines, 'drain', { signal: gone.signal }).catch(() => undefined)
  }
  const all = async (): Promise<void> => {
    try {
      void say(await work({ say, signal: gone.signal }))
    } catch (thrown) {
      const { code, message, hint } = toVm0Error(thrown)
      void say({ type: 'error', code, message, hint })
    } finally {
      lines.end()
    }
  }
  void all()
  const beating = withHeartbeat(lines[Symbol.asyncIterator]() as AsyncIterator<string>, heartbeatMs)
  return reply.type('application/x-ndjson').send(Readable.from(beating))
}
