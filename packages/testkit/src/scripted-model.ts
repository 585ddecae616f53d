import { randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import Fastify, { type FastifyReply } from 'fastify'
import { answerEvents, countTokens, type MessagesRequest } from './messages-wire.js'
import { scriptSchema, type ParsedScript, type Script, type Step } from './script.js'

export interface ScriptedModel {
  readonly url: string
  /** Bodies of the requests for messages, in order. */
  readonly requests: readonly MessagesRequest[]
  /** Expectations that did not hold. */
  readonly failures: readonly string[]
  close(): Promise<void>
}

/** A server of the Anthropic Messages protocol that plays scripts; on 127.0.0.1. */
export async function startScriptedModel(scripts: readonly Script[], { port = 0 } = {}): Promise<ScriptedModel> {
  const parsed = scripts.map((script) => scriptSchema.parse(script))
  const requests: MessagesRequest[] = []
  const failures: string[] = []
  const faults = new Map<Step, number>()
  const app = Fastify({ bodyLimit: 64 * 1024 ** 2, forceCloseConnections: true })

  app.get('/v1/models', () => ({
    data: [{ type: 'model', id: 'scripted', display_name: 'Scripted answers', created_at: '2026-01-01T00:00:00Z' }],
    has_more: false,
    first_id: 'scripted',
    last_id: 'scripted',
  }))
  app.post('/v1/messages/count_tokens', (request) => ({ input_tokens: countTokens(request.body) }))
  app.post('/v1/messages', async (request, reply) => {
    const body = request.body as MessagesRequest
    requests.push(body)
    const { step, lastResult } = findStep(parsed, body)
    if (step?.expect && !new RegExp(step.expect, 's').test(lastResult)) {
      failures.push(`expected the tool result to match /${step.expect}/; it was: ${lastResult.slice(0, 2000)}`)
      return error(reply, 400, 'invalid_request_error', `scripted expectation failed: ${failures.at(-1)}`)
    }
    if (step?.delayMs) await wait(step.delayMs)
    if (step?.fault && (faults.get(step) ?? 0) < step.fault.times) {
      faults.set(step, (faults.get(step) ?? 0) + 1)
      return fault(reply, step.fault, body)
    }
    const events = answerEvents(step ?? { text: 'The scripted model has no answer for this prompt.' }, body)
    if (!body.stream) return events.message
    reply.hijack()
    reply.raw.writeHead(200, {
      'content-type': 'text/event-stream',
      'request-id': `req_${randomBytes(8).toString('hex')}`,
    })
    for (const event of events.stream) reply.raw.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    reply.raw.end()
    return reply
  })

  const url = await app.listen({ host: '127.0.0.1', port })
  return { url, requests, failures, close: () => app.close() }
}

function findStep(
  scripts: readonly ParsedScript[],
  body: MessagesRequest,
): { step: Step | undefined; lastResult: string } {
  let prompts: string[] = []
  let answered = 0
  let lastResult = ''
  for (const message of body.messages) {
    if (message.role !== 'user') continue
    const blocks = typeof message.content === 'string' ? [{ type: 'text', text: message.content }] : message.content
    const texts = blocks
      .map((block) => block.text ?? '')
      .filter((text) => text !== '' && !text.startsWith('<system-reminder>'))
    const results = blocks.filter((block) => block.type === 'tool_result')
    if (results.length > 0) {
      answered += 1
      lastResult = results
        .map((block) => (typeof block.content === 'string' ? block.content : JSON.stringify(block.content)))
        .join('\n')
      // The result of a tool that was interrupted comes together with the next prompt.
      if (!texts.some((text) => text.startsWith('[Request interrupted'))) continue
    }
    prompts = texts
    answered = 0
  }
  // An agent may join an interrupted prompt and the next one in one message: the last one counts.
  for (const prompt of prompts.toReversed()) {
    for (const { when, steps } of scripts.flatMap(({ conversations }) => conversations)) {
      if (new RegExp(when, 's').test(prompt)) return { step: steps[Math.min(answered, steps.length - 1)], lastResult }
    }
  }
  return { step: undefined, lastResult }
}

function error(reply: FastifyReply, status: number, type: string, message: string): FastifyReply {
  return reply.code(status).send({ type: 'error', error: { type, message } })
}

async function fault(
  reply: FastifyReply,
  { kind, status = 529 }: NonNullable<Step['fault']>,
  body: MessagesRequest,
): Promise<FastifyReply> {
  if (kind === 'status')
    return error(
      reply,
      status,
      ({ 401: 'authentication_error', 429: 'rate_limit_error', 529: 'overloaded_error' } as Record<number, string>)[
        status
      ] ?? 'api_error',
      `scripted ${status}`,
    )
  reply.hijack()
  if (kind === 'hang') return reply
  reply.raw.writeHead(200, { 'content-type': kind === 'garbage' ? 'text/plain' : 'text/event-stream' })
  if (kind === 'garbage') reply.raw.end('\u0000not the protocol')
  else {
    const [first] = answerEvents({ text: '' }, body).stream
    reply.raw.write(`event: message_start\ndata: ${JSON.stringify(first)}\n\n`, () => reply.raw.destroy())
  }
  return reply
}
