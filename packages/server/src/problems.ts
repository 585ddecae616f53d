import type { IncomingMessage } from 'node:http'
import { finished } from 'node:stream/promises'
import { isConnectionLost } from '@vm0/backends'
import { toProblem, toVm0Error, Vm0Error } from '@vm0/contract'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

export const maxBodyBytes = 4 * 1024 ** 2
const maxSwallowBytes = 64 * 1024 ** 2
const maxSwallowMs = 5_000

/** Whatever goes wrong is told as a problem document (RFC 9457) with the request's id. */
export function tellProblems(app: FastifyInstance, onError?: (error: unknown) => void): void {
  const routes: Route[] = []
  app.removeContentTypeParser('text/plain') // else a text would be taken for a body of the wrong shape
  app.addHook('onRoute', ({ method, url }) => {
    routes.push({ methods: [method].flat(), pattern: patternOf(url) })
  })
  app.setErrorHandler(async (thrown: FastifyError, request, reply) => {
    const error = asVm0Error(thrown)
    await swallowRest(request.raw)
    if (error.code === 'INTERNAL') onError?.(thrown)
    return send(error, request, reply)
  })
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] as string
    const what = `${request.method} ${path.slice(0, 200)}`
    const allowed = allowedMethods(routes, path)
    if (allowed.length === 0) return send(new Vm0Error('NOT_FOUND', `${what} is no call of this API`), request, reply)
    reply.header('allow', allowed.join(', '))
    return send(
      new Vm0Error('METHOD_NOT_ALLOWED', `${what} is no call of this API; expected ${allowed.join(' or ')}`),
      request,
      reply,
    )
  })
}

/** For what fails before there is a route, such as an address that can't be decoded. */
export function tellProblem(thrown: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  return send(asVm0Error(thrown), request, reply)
}

function send(error: Vm0Error, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { retryAfterMs } = error.details
  if (typeof retryAfterMs === 'number') reply.header('retry-after', Math.max(1, Math.ceil(retryAfterMs / 1000)))
  if (error.status === 401) reply.header('www-authenticate', 'Bearer')
  return reply
    .header('x-request-id', request.id)
    .code(error.status)
    .type('application/problem+json')
    .serializer(JSON.stringify)
    .send(toProblem(error, request.id))
}

interface Route {
  methods: string[]
  pattern: RegExp
}

/** `/v1/runs/:id/events` and `/v1/sessions/:id/files/*` as expressions. */
export function patternOf(url: string): RegExp {
  const parts = url.split('/').map((part) => {
    if (part.startsWith(':')) return '[^/]+'
    return part === '*' ? '.*' : part.replaceAll(/[^\w-]/g, String.raw`\$&`)
  })
  return new RegExp(`^${parts.join('/')}$`)
}

function allowedMethods(routes: readonly Route[], path: string): string[] {
  return [...new Set(routes.flatMap(({ methods, pattern }) => (pattern.test(path) ? methods : [])))].toSorted()
}

/**
 * Reads what a client still sends, within bounds: a connection that is closed while the client writes is reset, and the
 * client sees a broken pipe instead of the answer.
 */
async function swallowRest(request: IncomingMessage): Promise<void> {
  if (request.readableEnded || request.destroyed) return
  let bytes = 0
  const enough = new AbortController()
  // Not `AbortSignal.timeout`, which Node 20 forgets where only `AbortSignal.any` knows it.
  const timer = setTimeout(() => enough.abort(), maxSwallowMs)
  const take = (): void => {
    for (let chunk: Buffer | null; (chunk = request.read() as Buffer | null) !== null;) bytes += chunk.length
    if (bytes > maxSwallowBytes) enough.abort()
  }
  // Who reads a body by its iterator and gives up leaves a listener on it: it would never flow to its end by itself.
  request.on('readable', take)
  take()
  await finished(request, { writable: false, signal: enough.signal }).catch(() => undefined)
  clearTimeout(timer)
}

interface Issue {
  instancePath?: string
  message?: string
}

function asVm0Error(thrown: FastifyError & { validation?: Issue[] }): Vm0Error {
  if (thrown instanceof Vm0Error) return thrown
  if (thrown.validation) {
    const told = thrown.validation
      .map(
        (issue) =>
          `${(issue.instancePath ?? '').replace(/^\//, '').replaceAll('/', '.') || 'request'}: ${issue.message ?? 'is not valid'}`,
      )
      .join('; ')
    return new Vm0Error(/prompt is empty/.test(told) ? 'PROMPT_EMPTY' : 'INVALID_REQUEST', told.slice(0, 2000))
  }
  if (thrown.code === 'FST_ERR_CTP_BODY_TOO_LARGE' || thrown.statusCode === 413)
    return new Vm0Error('REQUEST_TOO_LARGE', `the request is larger than ${maxBodyBytes} bytes`)
  if (thrown.statusCode === 415) return new Vm0Error('UNSUPPORTED_MEDIA_TYPE', thrown.message)
  if (thrown.statusCode && thrown.statusCode < 500) return new Vm0Error('INVALID_REQUEST', thrown.message)
  if (isConnectionLost(thrown))
    return new Vm0Error('NOT_READY', 'the database is not reachable at this moment', {
      cause: thrown,
      details: { retryAfterMs: 1_000 },
    })
  return toVm0Error(thrown)
}
