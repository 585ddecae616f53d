import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Agent, request } from 'undici'
import type { Gateway, GatewayOptions, LocalAnswers, ModelTraffic } from './gateway.js'

/** Headers of one connection, and those that carry a key: the sandbox's are never passed on. */
const dropped = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'host',
  'x-api-key',
  'authorization',
  'cookie',
  'expect',
  'content-length',
])

/** The model proxy: knows a sandbox by its address, puts the provider's key in, and tells what passes. */
export async function startGateway({
  host,
  port,
  upstream,
  maxRequestBytes = 64 * 1024 ** 2,
  headersTimeoutMs = 600_000,
}: GatewayOptions): Promise<Gateway> {
  const registered = new Map<string, ModelTraffic | LocalAnswers>()
  const dispatcher = new Agent({ headersTimeout: headersTimeoutMs, bodyTimeout: headersTimeoutMs, connections: 256 })
  const base = upstream.baseUrl.replace(/\/+$/, '')

  const server = createServer((incoming, response) => {
    const traffic = registered.get(incoming.socket.remoteAddress?.replace(/^::ffff:/, '') ?? '')
    if (!traffic) return refuse(response, 403, 'permission_error', 'this address has no sandbox')
    if (!incoming.url?.startsWith('/')) return refuse(response, 400, 'invalid_request_error', 'expected a path')
    if (Number(incoming.headers['content-length'] ?? 0) > maxRequestBytes)
      return refuse(response, 413, 'request_too_large', `expected at most ${maxRequestBytes} bytes`)
    const handled = 'answer' in traffic ? answerHere(incoming, response, traffic) : forward(incoming, response, traffic)
    handled.catch((error: Error) => {
      if (response.headersSent) response.destroy()
      else if (error.message === tooLarge)
        refuse(response, 413, 'request_too_large', `expected at most ${maxRequestBytes} bytes`)
      else
        refuse(
          response,
          502,
          'api_error',
          `the model endpoint could not be reached: ${error.message || (error as NodeJS.ErrnoException).code || error.name}`,
        )
    })
  })
  server.requestTimeout = headersTimeoutMs
  // An agent that waits warm keeps its connection for its first request.
  server.keepAliveTimeout = headersTimeoutMs

  async function forward(incoming: IncomingMessage, response: ServerResponse, traffic: ModelTraffic): Promise<void> {
    const startedMs = now()
    const path = incoming.url as string
    const method = incoming.method ?? 'GET'
    traffic.onRequest({ method, path, timeMs: startedMs })
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const hasBody = method !== 'GET' && method !== 'HEAD'
    const answer = await request(`${base}${path}`, {
      method: method as 'POST',
      dispatcher,
      signal: gone.signal,
      headers: { ...passedOn(incoming.headers), 'x-api-key': upstream.apiKey },
      body: hasBody ? Readable.from(bounded(incoming, maxRequestBytes)) : null,
    })
    let first = true
    answer.body.on('data', () => {
      if (!first) return
      first = false
      traffic.onFirstByte({ path, status: answer.statusCode, timeMs: now() })
    })
    answer.body.pause()
    response.writeHead(answer.statusCode, passedOn(answer.headers))
    response.flushHeaders()
    try {
      await pipeline(answer.body, response)
    } finally {
      const endedMs = now()
      traffic.onEnd({ path, status: answer.statusCode, timeMs: endedMs, durationMs: endedMs - startedMs })
    }
  }

  async function answerHere(incoming: IncomingMessage, response: ServerResponse, local: LocalAnswers): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of bounded(incoming, maxRequestBytes)) chunks.push(chunk)
    const request = { method: incoming.method ?? 'GET', path: incoming.url as string }
    const { status, contentType, body } = local.answer({ ...request, body: Buffer.concat(chunks).toString('utf8') })
    response.writeHead(status, { 'content-type': contentType })
    response.end(body)
  }

  server.listen(port, host)
  await once(server, 'listening')
  const bound = server.address() as AddressInfo
  return {
    address: bound.address,
    port: bound.port,
    register(sourceAddress, traffic) {
      registered.set(sourceAddress, traffic)
      return () => {
        if (registered.get(sourceAddress) === traffic) registered.delete(sourceAddress)
      }
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
      await dispatcher.destroy()
    },
  }
}

const tooLarge = 'request body too large'

async function* bounded(body: AsyncIterable<Buffer>, limit: number): AsyncGenerator<Buffer> {
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > limit) throw new Error(tooLarge)
    yield chunk
  }
}

function passedOn(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).filter(
      (entry): entry is [string, string | string[]] => entry[1] !== undefined && !dropped.has(entry[0].toLowerCase()),
    ),
  )
}

/** An error in the form of the Anthropic API, so that the agent can tell it. */
function refuse(response: ServerResponse, status: number, type: string, message: string): void {
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' })
  response.end(JSON.stringify({ type: 'error', error: { type, message: `VM0 gateway: ${message}` } }))
}

function now(): number {
  return performance.timeOrigin + performance.now()
}
