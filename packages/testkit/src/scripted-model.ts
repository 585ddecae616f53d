import { setTimeout as wait } from 'node:timers/promises'
import Fastify, { type FastifyReply } from 'fastify'
import { answerEvents } from './answer.js'
import { findStep, unmet } from './find-step.js'
import { countTokens, type MessagesRequest } from './request.js'
import { scriptSchema, type Script, type Step } from './script.js'
import { sendError, sendStream } from './send-answer.js'

export interface ScriptedModel {
  readonly url: string
  /** Bodies of the requests for messages, in order. */
  readonly requests: readonly MessagesRequest[]
  /** Every call, in order, as `METHOD /path`. */
  readonly calls: readonly string[]
  /** Expectations that did not hold. The agent is told the same, so the run's error has it too. */
  readonly failures: readonly string[]
  close(): Promise<void>
}

const noAnswer = { text: 'The scripted model has no answer for this prompt.' }

/** A server of the Anthropic Messages protocol that plays scripts; on 127.0.0.1. */
export async function startScriptedModel(scripts: readonly Script[], { port = 0 } = {}): Promise<ScriptedModel> {
  const parsed = scripts.map((script) => scriptSchema.parse(script))
  const requests: MessagesRequest[] = []
  const calls: string[] = []
  const failures: string[] = []
  const met = new Map<Step, number>()
  const app = Fastify({ bodyLimit: 64 * 1024 ** 2, forceCloseConnections: true })

  app.addHook('onRequest', async ({ method, url }) => {
    calls.push(`${method} ${url}`)
  })
  // Agents ask for the root to open a connection early.
  app.get('/', () => ({}))
  const model = { type: 'model', id: 'scripted', display_name: 'Scripted answers', created_at: '2026-01-01T00:00:00Z' }
  app.get('/v1/models', () => ({ data: [model], has_more: false, first_id: model.id, last_id: model.id }))
  app.get<{ Params: { id: string } }>('/v1/models/:id', ({ params }) => ({ ...model, id: params.id }))
  app.setNotFoundHandler(({ method, url }, reply) => sendError(reply, 404, `${method} ${url}: not scripted`))

  app.post('/v1/messages/count_tokens', ({ body }) => ({ input_tokens: countTokens(body) }))
  app.post('/v1/messages', async ({ body }, reply) => {
    const request = body as MessagesRequest
    if (!Array.isArray(request?.messages)) return sendError(reply, 400, 'messages: expected a list')
    requests.push(request)
    const due = findStep(parsed, request)
    if (!due) return answer(reply, noAnswer, request)
    const failure = unmet(due, request)
    if (failure) {
      if (!failures.includes(failure)) failures.push(failure) // agents ask again
      return sendError(reply, 400, `scripted expectation failed: ${failure}`)
    }
    return answer(reply, due.step, request)
  })

  async function answer(reply: FastifyReply, step: Partial<Step>, request: MessagesRequest): Promise<unknown> {
    if (step.delayMs) await wait(step.delayMs)
    const { stream, message } = answerEvents(step, request)
    const fault = nextFault(step as Step)
    if (!request.stream && !fault) return reply.headers(step.headers ?? {}).send(message)
    return sendStream(reply, stream, {
      ...(step.headers ? { headers: step.headers } : {}),
      ...(step.chunkDelayMs ? { chunkDelayMs: step.chunkDelayMs } : {}),
      ...(fault ? { fault } : {}),
    })
  }

  /** The step's fault, while requests are left that are to meet it. */
  function nextFault(step: Step): Step['fault'] {
    const before = met.get(step) ?? 0
    if (!step.fault || before >= step.fault.times) return undefined
    met.set(step, before + 1)
    return step.fault
  }

  const url = await app.listen({ host: '127.0.0.1', port })
  return { url, requests, calls, failures, close: () => app.close() }
}
