import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { wallClockMs } from '@vm0/contract'
import { request } from 'undici'
import type { Gateway, GatewayOptions, LocalAnswers, ModelTraffic } from './gateway.js'
import { UpstreamConnections } from './upstream-connections.js'

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
  onExchange,
  maxRequestBytes = 64 * 1024 ** 2,
  headersTimeoutMs = 600_000,
  pauseTimeoutMs = 180_000,
  maxOpenRequests = 64,
  aheadMs = 10_000,
}: GatewayOptions): Promise<Gateway> {
  const registered = new Map<string, Source>()
  const base = upstream.baseUrl.replace(/\/+$/, '')
  const connections = new UpstreamConnections({ baseUrl: base, headersTimeoutMs, pauseTimeoutMs, aheadMs })
  const { dispatcher } = connections
  const destination = URL.canParse(base) ? new URL(base).hostname : base

  const server = createServer((incoming, response) => {
    const source = registered.get(addressOf(incoming.socket))
    if (!source) return refuse(response, 403, 'permission_error', 'this address has no sandbox')
    if (!incoming.url?.startsWith('/')) return refuse(response, 400, 'invalid_request_error', 'expected a path')
    if (Number(incoming.headers['content-length'] ?? 0) > maxRequestBytes)
      return refuse(response, 413, 'request_too_large', `expected at most ${maxRequestBytes} bytes`)
    if (source.open >= maxOpenRequests)
      return refuse(response, 429, 'rate_limit_error', `expected at most ${maxOpenRequests} requests at a time`)
    source.open += 1
    const { traffic } = source
    const handled =
      'answer' in traffic ? answerHere(incoming, response, traffic) : observed(incoming, response, traffic)
    void handled.finally(() => {
      source.open -= 1
    })
  })
  server.requestTimeout = headersTimeoutMs
  // An agent that waits warm keeps its connection for its first request.
  server.keepAliveTimeout = headersTimeoutMs
  server.maxHeadersCount = 200
  server.on('connection', (socket) => {
    const source = registered.get(addressOf(socket))
    if (!source) return
    source.connections += 1
    socket.once('close', () => (source.connections -= 1))
    if (source.connections > maxOpenRequests * 2) socket.destroy()
  })

  /** Forwards one request and tells its traffic how it went, whatever happens. */
  async function observed(incoming: IncomingMessage, response: ServerResponse, traffic: ModelTraffic): Promise<void> {
    const startedMs = wallClockMs()
    const path = incoming.url as string
    const method = incoming.method ?? 'GET'
    traffic.onRequest({ method, path, timeMs: startedMs })
    let left = false
    const failure = await forward(incoming, response, traffic, { method, path }).catch((error: Error) => {
      left = isLeft(error)
      if (left) return 'the agent did not wait for its end'
      if (response.headersSent) response.destroy()
      else if (error.message === tooLarge)
        refuse(response, 413, 'request_too_large', `expected at most ${maxRequestBytes} bytes`)
      else refuse(response, 502, 'api_error', reasonOf(error))
      return reasonOf(error)
    })
    const timeMs = wallClockMs()
    const status = left && !response.headersSent ? clientLeft : response.statusCode
    const end = { path, status, timeMs, durationMs: timeMs - startedMs }
    traffic.onEnd(failure === undefined ? end : { ...end, failure })
  }

  async function forward(
    incoming: IncomingMessage,
    response: ServerResponse,
    traffic: ModelTraffic,
    { method, path }: { method: string; path: string },
  ): Promise<string | undefined> {
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const passed = { sent: 0, received: 0 }
    response.once('close', () => onExchange?.({ destination, sentBytes: passed.sent, receivedBytes: passed.received }))
    const hasBody = method !== 'GET' && method !== 'HEAD'
    let held: Promise<void> | undefined
    const watched = (body: AsyncIterable<Buffer>): AsyncIterable<Buffer> =>
      traffic.onBody ? copied(body, maxToldBytes, (text) => (held = traffic.onBody?.({ path, body: text }))) : body
    const answer = await request(`${base}${path}`, {
      method: method as 'POST',
      dispatcher,
      signal: gone.signal,
      headers: { ...passedOn(incoming.headers), 'x-api-key': upstream.apiKey },
      body: hasBody
        ? Readable.from(watched(bounded(incoming, maxRequestBytes, (bytes) => (passed.sent += bytes))))
        : null,
    })
    const { statusCode: status } = answer
    if (status >= 300 && status < 400) {
      answer.body.on('error', () => undefined).destroy()
      // Not passed on: the sandbox would follow it past the gateway. Not to be tried again either.
      const location = String(answer.headers.location)
      const told = `the model endpoint redirects to ${location}; expected ANTHROPIC_BASE_URL to be the final address`
      refuse(response, 400, 'invalid_request_error', told)
      return told
    }
    let first = true
    answer.body.on('data', (chunk: Buffer) => {
      passed.received += chunk.length
      if (status < 300) traffic.onProgress()
      if (!first) return
      first = false
      traffic.onFirstByte({ path, status, timeMs: wallClockMs() })
    })
    answer.body.pause()
    if (held) {
      // What goes wrong meanwhile is told when the answer is passed on.
      answer.body.on('error', () => undefined)
      await held
    }
    response.writeHead(status, passedOn(answer.headers))
    response.flushHeaders()
    await pipeline(answer.body, response)
    return undefined
  }

  async function answerHere(incoming: IncomingMessage, response: ServerResponse, local: LocalAnswers): Promise<void> {
    try {
      const chunks: Buffer[] = []
      for await (const chunk of bounded(incoming, maxRequestBytes)) chunks.push(chunk)
      const request = { method: incoming.method ?? 'GET', path: incoming.url as string }
      const { status, contentType, body } = local.answer({ ...request, body: Buffer.concat(chunks).toString('utf8') })
      response.writeHead(status, { 'content-type': contentType })
      response.end(body)
    } catch (error) {
      refuse(response, 400, 'invalid_request_error', reasonOf(error as Error))
    }
  }

  server.listen(port, host)
  await once(server, 'listening')
  const bound = server.address() as AddressInfo
  return {
    address: bound.address,
    port: bound.port,
    register(sourceAddress, traffic) {
      const source: Source = { traffic, open: 0, connections: 0 }
      registered.set(sourceAddress, source)
      return () => {
        if (registered.get(sourceAddress) === source) registered.delete(sourceAddress)
      }
    },
    expectRequest: () => connections.prepare(),
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
      await connections.close()
    },
  }
}

interface Source {
  traffic: ModelTraffic | LocalAnswers
  open: number
  connections: number
}

/** As other proxies have it: the client has closed its connection before it got an answer. */
const clientLeft = 499
const tooLarge = 'request body too large'
const maxToldBytes = 16 * 1024 ** 2

function addressOf({ remoteAddress }: Socket): string {
  return remoteAddress?.replace(/^::ffff:/, '') ?? ''
}

/** The sandbox has closed its connection: it waits for no answer any more. */
function isLeft(error: Error): boolean {
  return error.name === 'AbortError' || (error as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE'
}

function reasonOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return 'the model endpoint did not begin its answer in time'
  if (code === 'UND_ERR_BODY_TIMEOUT') return 'the model endpoint stopped in the middle of its answer'
  return `the model endpoint could not be used: ${error.message || code || error.name}`
}

async function* bounded(
  body: AsyncIterable<Buffer>,
  limit: number,
  onPassed: (bytes: number) => void = () => undefined,
): AsyncGenerator<Buffer> {
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > limit) throw new Error(tooLarge)
    onPassed(chunk.length)
    yield chunk
  }
}

/** Passes a body on and tells its text at the end, unless it is longer than `limit` bytes. */
async function* copied(
  body: AsyncIterable<Buffer>,
  limit: number,
  tell: (text: string) => void,
): AsyncGenerator<Buffer> {
  let chunks: Buffer[] | undefined = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > limit) chunks = undefined
    chunks?.push(chunk)
    yield chunk
  }
  if (chunks) tell(Buffer.concat(chunks).toString('utf8'))
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
