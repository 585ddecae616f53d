import { randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import type { WireEvent } from './answer.js'
import type { Fault } from './script.js'

const errorTypes: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
}

export function sendError(
  reply: FastifyReply,
  status: number,
  message: string,
  headers: Record<string, string> = {},
): FastifyReply {
  return reply
    .code(status)
    .headers({ 'request-id': requestId(), ...headers })
    .send(errorBody(status, message))
}

/** Sends the events one by one; with a fault, as many as come before it, and then the fault. */
export async function sendStream(
  reply: FastifyReply,
  events: readonly WireEvent[],
  { headers = {}, chunkDelayMs, fault }: { headers?: Record<string, string>; chunkDelayMs?: number; fault?: Fault },
): Promise<FastifyReply> {
  if (fault?.kind === 'status')
    return sendError(reply, fault.status, fault.message ?? `scripted ${fault.status}`, {
      ...headers,
      ...(fault.retryAfterSeconds === undefined ? {} : { 'retry-after': String(fault.retryAfterSeconds) }),
    })
  reply.hijack()
  const { raw } = reply
  const early = fault && fault.afterChunks === undefined
  if (early && fault.kind === 'hang') return reply
  if (early && fault.kind === 'drop') {
    raw.destroy()
    return reply
  }
  const garbageInstead = early && fault.kind === 'garbage'
  raw.writeHead(200, {
    'content-type': garbageInstead ? 'text/plain' : 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    'request-id': requestId(),
    ...headers,
  })
  raw.flushHeaders()
  const before = fault ? events.slice(0, fault.afterChunks ?? 0) : events
  for (const [index, event] of before.entries()) {
    if (chunkDelayMs && index > 0) await wait(chunkDelayMs)
    if (raw.destroyed) return reply
    await written(raw, chunk(event))
  }
  switch (fault?.kind) {
    case undefined:
      raw.end()
      break
    case 'hang':
      break
    case 'drop':
      // Not destroy(): a reset would take with it what the other side hasn't read yet.
      raw.socket?.end()
      break
    case 'garbage':
      raw.end('\u0000\u0001 this is not the protocol \ufffd\n\n')
      break
    case 'error':
      raw.end(chunk(errorBody(fault.status, fault.message ?? `scripted ${fault.status} in the stream`)))
  }
  return reply
}

function errorBody(status: number, message: string): WireEvent {
  return { type: 'error', error: { type: errorTypes[status] ?? 'api_error', message } }
}

function chunk(event: WireEvent): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
}

/** Resolves when the chunk has left for the socket: a fault that follows must not overtake it. */
function written(raw: FastifyReply['raw'], text: string): Promise<void> {
  return new Promise((resolve) => {
    raw.write(text, () => resolve())
  })
}

function requestId(): string {
  return `req_${randomBytes(8).toString('hex')}`
}
