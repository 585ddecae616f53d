import { once } from 'node:events'
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What is wrong with a model endpoint, below its protocol: what a proxy, a load balancer or a dying server does to clients. */
export type EndpointFault =
  | { kind: 'status'; status: number; headers?: Record<string, string> }
  | { kind: 'html' | 'garbage' | 'empty' | 'redirect' | 'huge-header' | 'hang' | 'reset' }
  /** The real answer, as far as `bytes`; then nothing more comes, or the connection ends. */
  | { kind: 'hang-after' | 'drop-after'; bytes: number }

export interface FaultyEndpoint {
  readonly url: string
  /** Requests for messages that have arrived, with whatever came of them. */
  readonly requests: number
  /** The next `times` requests for messages meet this fault. */
  fail(fault: EndpointFault, times?: number): void
  /** All is well again; connections that hang are closed. */
  heal(): void
  /** Connections are refused until `up`. */
  down(): Promise<void>
  up(): Promise<void>
  close(): Promise<void>
}

/** A reverse proxy in front of a model server that breaks answers as told. */
export async function startFaultyEndpoint(upstream: string): Promise<FaultyEndpoint> {
  let fault: EndpointFault | undefined
  let left = 0
  let requests = 0
  let port = 0
  let server: Server

  const answer = (incoming: IncomingMessage, response: ServerResponse): void => {
    const isMessage = /^\/v1\/messages(\?|$)/.test(incoming.url ?? '')
    if (isMessage) requests += 1
    if (!isMessage || left <= 0 || !fault) return forward(incoming, response, (body) => void body.pipe(response))
    left -= 1
    const { kind } = fault
    if (kind === 'hang-after' || kind === 'drop-after') {
      const { bytes } = fault
      return forward(incoming, response, (body) => void cut(body, response, bytes, kind))
    }
    incoming.resume()
    if (kind === 'hang') return
    if (kind === 'reset') return void incoming.socket.resetAndDestroy()
    incoming.once('end', () => breakWhole(fault as EndpointFault, response))
  }

  const forward = (
    incoming: IncomingMessage,
    response: ServerResponse,
    send: (body: IncomingMessage) => void,
  ): void => {
    const { method = 'GET', url = '/', headers } = incoming
    const outgoing = request(
      new URL(url, upstream),
      { method, headers: { ...headers, connection: 'close' } },
      (body) => {
        response.writeHead(body.statusCode ?? 502, body.headers)
        send(body)
      },
    )
    outgoing.on('error', () => response.destroy())
    response.once('close', () => outgoing.destroy())
    incoming.pipe(outgoing)
  }

  const listen = async (at: number): Promise<number> => {
    server = createServer({ keepAliveTimeout: 60_000 }, answer).listen(at, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  const down = async (): Promise<void> => {
    if (!server.listening) return
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }
  port = await listen(0)

  return {
    url: `http://127.0.0.1:${port}`,
    get requests() {
      return requests
    },
    fail(next, times = Number.POSITIVE_INFINITY) {
      fault = next
      left = times
    },
    heal() {
      left = 0
      server.closeAllConnections()
    },
    down,
    async up() {
      await listen(port)
    },
    close: down,
  }
}

function breakWhole(fault: EndpointFault, response: ServerResponse): void {
  switch (fault.kind) {
    case 'status': {
      const body = { type: 'error', error: { type: 'api_error', message: `broken on purpose: ${fault.status}` } }
      response.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers })
      return void response.end(JSON.stringify(body))
    }
    case 'html':
      response.writeHead(200, { 'content-type': 'text/html' })
      return void response.end('<html><body><h1>Please sign in</h1></body></html>')
    case 'garbage':
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      return void response.end(Buffer.from('\u0000\u0001\u00ff not the protocol', 'latin1'))
    case 'empty':
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      return void response.end()
    case 'redirect':
      response.writeHead(307, { location: 'http://203.0.113.1/v1/messages' })
      return void response.end()
    case 'huge-header':
      response.writeHead(200, { 'content-type': 'text/event-stream', 'x-huge': 'x'.repeat(1024 ** 2) })
      return void response.end()
    default:
      throw new Error(`the fault ${fault.kind} breaks an answer before or after its head`)
  }
}

async function cut(
  body: IncomingMessage,
  response: ServerResponse,
  bytes: number,
  kind: 'hang-after' | 'drop-after',
): Promise<void> {
  let left = bytes
  for await (const chunk of body as AsyncIterable<Buffer>) {
    await new Promise<void>((resolve) => response.write(chunk.subarray(0, left), () => resolve()))
    left -= chunk.length
    if (left <= 0) break
  }
  if (kind === 'drop-after') response.destroy()
}
